//! Numbers in their normal form.

use filter_core::{
    layout::{Config, NumberFormat},
    number::{emergency_urn, normalise},
    scratch::{NumberOf, Scratch, Span, Uri, uri_flag},
};
use filter_policy::{
    engine::{Endpoints, Engine, datagram},
    testing,
};
use zerocopy::FromZeros as _;

/// The normal form of the digits, and whether it is a short code.
fn normal(digits: &str) -> (String, bool, NumberFormat) {
    let mut uri = Uri { user: Span { start: 0, end: 1 }, ..Uri::EMPTY };
    uri.flags = uri_flag::NUMBER;
    let plain = digits.strip_prefix('+').unwrap_or(digits);
    if plain.len() < digits.len() {
        uri.flags |= uri_flag::PLUS;
    }
    for (index, digit) in plain.bytes().enumerate() {
        uri.digits |= u64::from(digit - b'0') << (60 - 4 * index);
    }
    uri.digit_count = plain.len() as u16;
    let number = normalise(&Config::EMPTY.numbering[0], &uri, false);
    (format!("{:016x}", number.key)[..usize::from(number.digits)].into(), number.short_code != 0, number.format)
}

#[test]
fn six_digits_or_fewer_are_a_short_code_unless_they_follow_a_plus() {
    for number in ["0", "000", "1", "911", "123456", "2000"] {
        assert_eq!(normal(number), (number.into(), true, NumberFormat::Valid));
    }
    for number in ["+1", "+12", "+44", "+1212", "+000", "+9115", "+1911", "+123456", "+111", "+011", "+120"] {
        assert_eq!(normal(number), (number[1..].into(), false, NumberFormat::Valid));
    }
    assert!(!normal("1234567").1);
}

#[test]
fn a_number_that_is_dialled_as_it_is_may_have_a_plus() {
    let services =
        ["110", "112", "118", "119", "911", "999", "211", "311", "411", "511", "611", "711", "811", "933", "988"];
    for number in services {
        assert_eq!(normal(&format!("+{number}")), (number.into(), true, NumberFormat::Valid));
    }
}

#[test]
fn zeros_are_no_one_s_number() {
    for number in ["0000", "00000", "000000"] {
        assert_eq!(normal(number), (number.into(), true, NumberFormat::UnassignedCountryCode));
    }
}

/// The digits of the emergency service that the text names.
fn emergency(text: &str) -> Option<String> {
    let mut scratch = Scratch::new_box_zeroed().expect("memory for the scratch");
    let start = 100;
    scratch.buffer[start..start + text.len()].copy_from_slice(text.as_bytes());
    scratch.buffer[start + text.len()] = b';';
    let user = Span { start: start as u16, end: (start + text.len()) as u16 };
    let number = emergency_urn(&scratch, user)?;
    assert_eq!((number.format, number.short_code), (NumberFormat::Valid, 1));
    let key = format!("{:016x}", number.key);
    let (digits, rest) = key.split_at(usize::from(number.digits));
    assert!(rest.starts_with('f') && rest[1..].bytes().all(|nibble| nibble == b'0'), "{key}");
    Some(digits.into())
}

#[test]
fn emergency_services_have_numbers() {
    for (text, digits) in [
        ("service:sos", "aa"),
        ("Service:SOS", "aa"),
        ("service.sos", "aa"),
        ("service:sos.ambulance", "aa1"),
        ("service.sos.ambulance", "aa1"),
        ("service:sos.animal-control", "aa2"),
        ("service:sos.fire", "aa3"),
        ("service:sos.gas", "aa4"),
        ("service:sos.marine", "aa5"),
        ("service:sos.mountain", "aa6"),
        ("service:sos.physician", "aa7"),
        ("service:sos.poison", "aa8"),
        ("SERVICE:sos.POLICE", "aa9"),
        ("service:sos.ecall", "aac"),
        ("service:sos.", "aac"),
        ("service:sos.police.municipal", "aac"),
        ("service:sos.policeman", "aac"),
        ("service:sos.polic", "aac"),
        ("service:sos.fire-and-all-that-burns", "aac"),
        ("service:sos.animal-controls", "aac"),
    ] {
        assert_eq!(emergency(text).as_deref(), Some(digits), "{text}");
    }
    for text in [
        "",
        "service",
        "service:so",
        "service:sosx",
        "service:soss.police",
        "service;sos",
        "services:sos",
        "service:counseling",
    ] {
        assert_eq!(emergency(text), None, "{text}");
    }
}

/// What the engine reads, under a policy with this `[numbering]`, in a call with this user part in the Request-URI: the called
/// number and its format.
fn called_under(numbering: &str, user: &str) -> (Option<String>, String) {
    called_from(numbering, [192, 0, 2, 1], user)
}

/// As [`called_under`], for a call from this address.
fn called_from(numbering: &str, source: [u8; 4], user: &str) -> (Option<String>, String) {
    let text = format!(
        "version = 1\ndefault = \"pass\"\n[numbering]\n{numbering}\n[[rule]]\nname = \"emergency\"\nmatch.called = \"911$\"\n\
         action = \"whitelist\"\n[[rule]]\nname = \"x\"\nmatch.called_format = \"too-long\"\naction = \"drop\"\n"
    );
    let built = testing::build(&[("policy.toml", &text)]).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let message = format!("INVITE sip:{user}@192.0.2.50 SIP/2.0\r\nFrom: <sip:100@192.0.2.50>;tag=1\r\n\r\n");
    let endpoints = Endpoints::from_source(source.into(), 5060);
    let mut engine = Engine::new(&built.image);
    engine.decide(&datagram(&endpoints, message.as_bytes()));
    let reading = engine.reading();
    (reading.number(NumberOf::Called), reading.format(NumberOf::Called).expect("it is a request").to_owned())
}

#[track_caller]
fn assert_called(numbering: &str, cases: &[(&str, &str, &str)]) {
    for &(user, number, format) in cases {
        let read = called_under(numbering, user);
        let number = (!number.is_empty()).then(|| number.to_owned());
        assert_eq!(read, (number, format.to_owned()), "{user} under {numbering}");
    }
}

/// How callers, and those who try for a way out, spell an international call.
#[test]
fn what_is_dialled_before_a_number_is_taken_off() {
    let numbering = "country_code = \"1\"\ninternational_prefix = [\"011\", \"00\", \"000\", \"0011\"]\n\
                     outside_prefix = \"9\"\nstrip = [\"*\", \"9,\", \"810\", \"888\", \"1111#\", \"#\"]";
    for user in [
        "00972595550123",
        "000972595550123",
        "+00972595550123",
        "+000972595550123",
        "9011972595550123",
        "900972595550123",
        "011972595550123",
        "+011972595550123",
        "0011972595550123",
        "88800972595550123",
        "*9011972595550123",
        "9,011972595550123",
        "810972595550123",
        "+972595550123",
        "972595550123",
    ] {
        assert_called(numbering, &[(user, "972595550123", "valid")]);
    }
    assert_called(
        numbering,
        &[
            ("1111#12125551234", "12125551234", "valid"),
            ("1111%2312125551234", "12125551234", "valid"),
            ("1111#2125551234", "12125551234", "valid"),
            ("1111#911", "911", "valid"),
            ("#123", "123", "valid"),
            ("9175551234", "19175551234", "valid"),
            ("99175551234", "19175551234", "valid"),
            ("919175551234", "19175551234", "valid"),
            // Of short codes, only emergency numbers are dialled on an outside line.
            ("9911", "911", "valid"),
            ("9112", "112", "valid"),
            ("9411", "9411", "valid"),
            ("9000", "9000", "valid"),
            ("8889911", "911", "valid"),
            // +92 without its plus: what follows the 9 is nothing that is dialled.
            ("923001234567", "923001234567", "valid"),
            ("911#", "", "not-a-number"),
            ("*", "", "not-a-number"),
            ("1111#", "", "not-a-number"),
            ("+1111#12125551234", "", "not-a-number"),
            ("12#12125551234", "", "not-a-number"),
            ("1111#1212*5550123", "", "not-a-number"),
        ],
    );
}

/// Gateways put what they add before a number that already has its plus.
#[test]
fn a_plus_may_follow_a_prefix() {
    let numbering = "country_code = \"1\"\noutside_prefix = \"9\"\nstrip = [\"*9\", \"9876\", \"1111#\"]";
    assert_called(
        numbering,
        &[
            ("*9+390612345678", "390612345678", "valid"),
            ("1111#+390612345678", "390612345678", "valid"),
            ("1111%23%2b390612345678", "390612345678", "valid"),
            ("9876+12125551234", "12125551234", "valid"),
            ("9+972595550123", "972595550123", "valid"),
            ("9876+44(0)2079460123", "442079460123", "valid"),
            ("9876+911", "911", "valid"),
            ("98+12125551234", "", "not-a-number"),
            ("98767+12125551234", "", "not-a-number"),
            ("9876++12125551234", "", "not-a-number"),
            ("9876+1111#12125551234", "", "not-a-number"),
            ("9876+", "", "not-a-number"),
            ("+9876+12125551234", "", "not-a-number"),
            ("1234567890123456+12125551234", "", "not-a-number"),
        ],
    );
    assert_called(
        "country_code = \"1\"",
        &[
            ("9+12125551234", "", "not-a-number"),
            ("011+390612345678", "390612345678", "valid"),
            ("00+390612345678", "", "not-a-number"),
        ],
    );
}

#[test]
fn without_a_plan_for_it_a_prefix_is_part_of_the_number() {
    assert_called(
        "country_code = \"1\"",
        &[
            ("00972595550123", "00972595550123", "unassigned-country-code"),
            ("+00972595550123", "00972595550123", "unassigned-country-code"),
            ("011972595550123", "972595550123", "valid"),
            ("+011972595550123", "972595550123", "valid"),
            ("9,011972595550123", "", "not-a-number"),
            ("*9011972595550123", "", "not-a-number"),
            ("1111#19005550123", "", "not-a-number"),
            ("1111%2319005550123", "", "not-a-number"),
            ("#123", "", "not-a-number"),
        ],
    );
}

#[test]
fn numbers_of_no_country_have_no_length() {
    assert_called(
        "country_code = \"1\"",
        &[
            ("0000000000", "0000000000", "unassigned-country-code"),
            ("+0000000000", "0000000000", "unassigned-country-code"),
            ("00000", "00000", "unassigned-country-code"),
            ("0000", "0000", "unassigned-country-code"),
            ("+000", "000", "unassigned-country-code"),
            ("000", "000", "valid"),
            ("0", "0", "valid"),
            ("1", "1", "valid"),
            ("0123", "0123", "valid"),
            ("+9990123456", "9990123456", "unassigned-country-code"),
            ("+2100123456", "2100123456", "unassigned-country-code"),
            ("0123456789", "0123456789", "unassigned-country-code"),
            ("+1", "1", "too-short"),
            ("+12", "12", "too-short"),
            ("+44", "44", "too-short"),
            ("+441", "441", "too-short"),
            ("+1212", "1212", "too-short"),
            ("123456", "123456", "valid"),
            ("999999", "999999", "valid"),
            ("1234567", "1234567", "too-short"),
            ("12345678", "12345678", "too-short"),
            ("+4412345678901234", "441234567890123", "too-long"),
            ("1111111111", "1111111111", "too-short"),
            ("+10005550100", "10005550100", "invalid-area-code"),
            ("10005550100", "10005550100", "invalid-area-code"),
            ("19995550100", "19995550100", "invalid-area-code"),
            ("9999999999", "19999999999", "invalid-area-code"),
            ("2222222222", "12222222222", "unassigned-area-code"),
            ("5555555555", "15555555555", "unassigned-area-code"),
            ("+12120000000", "12120000000", "unassigned-block"),
            ("+12121550100", "12121550100", "unassigned-block"),
            ("+5215512345678", "5215512345678", "valid"),
            ("+525512345678", "525512345678", "valid"),
            ("+5491123456789", "5491123456789", "valid"),
            ("+80012345678", "80012345678", "valid"),
            ("+999", "999", "valid"),
            ("+210", "210", "unassigned-country-code"),
        ],
    );
}

#[test]
fn emergency_numbers_are_read_in_the_spellings_that_servers_route() {
    assert_called(
        "country_code = \"1\"",
        &[
            ("+911", "911", "valid"),
            ("+112", "112", "valid"),
            ("+933", "933", "valid"),
            ("911", "911", "valid"),
            ("911;phone-context=example.com", "911", "valid"),
            ("%39%31%31", "911", "valid"),
            ("9-1-1", "911", "valid"),
            // These are not emergency calls.
            ("+1911", "1911", "too-short"),
            ("0911", "0911", "valid"),
            ("9911", "9911", "valid"),
            ("1911", "1911", "valid"),
            ("911#", "", "not-a-number"),
            ("911*", "", "not-a-number"),
            ("*911", "", "not-a-number"),
            ("+9115", "9115", "too-short"),
            ("sos", "", "not-a-number"),
        ],
    );
}

#[test]
fn german_numbers_have_their_prefixes_replaced() {
    assert_called(
        "country_code = \"49\"\nnational_prefix = \"0\"",
        &[
            ("01522555010", "491522555010", "valid"),
            ("+4901522555010", "491522555010", "valid"),
            ("0049(0)1522555010", "491522555010", "valid"),
            ("004915225550100", "4915225550100", "valid"),
            ("+004915225550100", "4915225550100", "valid"),
            ("4915225550100", "4915225550100", "valid"),
            ("15225550100", "15225550100", "fictional"),
            ("0049%201522%205550100", "4915225550100", "valid"),
            ("+49(0)15225550100", "4915225550100", "valid"),
            ("+49%20(0)%2015225550100", "4915225550100", "valid"),
            ("+49%280%2915225550100", "4915225550100", "valid"),
            ("+49(01522)555010", "491522555010", "valid"),
            ("+39(0)612345678", "390612345678", "valid"),
            ("110", "110", "valid"),
            ("112", "112", "valid"),
            ("116117", "116117", "valid"),
            ("0900512345", "49900512345", "valid"),
            ("+49900512345", "49900512345", "valid"),
            ("0137123456", "49137123456", "valid"),
            ("030123", "030123", "valid"),
            ("03012345678901234", "493012345678901", "too-long"),
            ("+49", "49", "too-short"),
            ("+491", "491", "too-short"),
            ("0", "0", "valid"),
            ("00", "00", "valid"),
            ("000", "000", "valid"),
            ("19222", "19222", "valid"),
            ("0800123456", "49800123456", "valid"),
            ("00972595550123", "972595550123", "valid"),
            ("0972595550123", "49972595550123", "valid"),
            ("000972595550123", "0972595550123", "unassigned-country-code"),
            ("22833", "22833", "valid"),
            ("+4921155501", "4921155501", "valid"),
        ],
    );
}

#[test]
fn bare_digits_are_national_unless_they_have_the_country_code() {
    let german = "country_code = \"49\"\nnational_prefix = \"0\"\nbare = \"national\"";
    assert_called(
        german,
        &[
            ("49305550102", "49305550102", "valid"),
            ("305550102", "49305550102", "valid"),
            ("0305550102", "49305550102", "valid"),
        ],
    );
    // Spanish numbers have nine digits and no national prefix.
    assert_called(
        "country_code = \"34\"\nbare = \"national\"",
        &[
            ("912345678", "34912345678", "valid"),
            ("34912345678", "34912345678", "valid"),
            ("349123456", "34349123456", "valid"),
        ],
    );
    assert_called("country_code = \"1\"\nbare = \"national\"", &[("121255501234", "121255501234", "too-long")]);
}

/// A national prefix that is no 0 may be the beginning of a national number.
#[test]
fn a_national_prefix_is_not_taken_off_a_whole_national_number() {
    assert_called(
        "country_code = \"7\"\nnational_prefix = \"8\"\ninternational_prefix = \"810\"\nbare = \"national\"",
        &[
            ("8121234567", "78121234567", "valid"),
            ("8005553535", "78005553535", "valid"),
            ("88121234567", "78121234567", "valid"),
            ("88005553535", "78005553535", "valid"),
            ("84951234567", "74951234567", "valid"),
            ("4951234567", "74951234567", "valid"),
            ("74951234567", "74951234567", "valid"),
            // A mobile number of Kazakhstan begins with the country code.
            ("7771234567", "77771234567", "valid"),
            ("77771234567", "77771234567", "valid"),
            ("810390612345678", "390612345678", "valid"),
        ],
    );
    assert_called(
        "country_code = \"370\"\nnational_prefix = \"8\"\nbare = \"national\"",
        &[("80012345", "37080012345", "valid"), ("837123456", "37037123456", "valid")],
    );
    // Other digits are E.164 there.
    assert_called(
        "country_code = \"7\"\nnational_prefix = \"8\"",
        &[("88121234567", "78121234567", "valid"), ("4420790460123", "4420790460123", "too-long")],
    );
}

#[test]
fn each_source_has_its_own_plan() {
    let numbering = "country_code = \"1\"\noutside_prefix = \"9\"\n\
                     [[numbering.plan]]\nfrom = \"198.51.100.0/24\"\ncountry_code = \"49\"\nnational_prefix = \"0\"\n\
                     outside_prefix = \"\"\n\
                     [[numbering.plan]]\nfrom = [\"198.51.100.7\", \"203.0.113.7\"]\nstrip = \"1111#\"\n";
    for (source, user, number) in [
        ([192, 0, 2, 1], "2125550123", "12125550123"),
        ([192, 0, 2, 1], "9011442079460123", "442079460123"),
        ([192, 0, 2, 1], "1111#12125550123", ""),
        ([198, 51, 100, 1], "0305550102", "49305550102"),
        ([198, 51, 100, 1], "00442079460123", "442079460123"),
        ([198, 51, 100, 1], "901144207946012", "901144207946012"),
        // The first plan whose sources include it counts.
        ([198, 51, 100, 7], "0305550102", "49305550102"),
        ([203, 0, 113, 7], "1111#9011442079460123", "442079460123"),
        ([203, 0, 113, 7], "2125550123", "12125550123"),
    ] {
        let number = (!number.is_empty()).then(|| number.to_owned());
        assert_eq!(called_from(numbering, source, user).0, number, "{user} from {source:?}");
    }
}
