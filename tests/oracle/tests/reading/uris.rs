//! URIs: schemes, user parts, numbers.

use filter_core::{layout::Text, scratch::UriOf};
use ringfence_tests::message::{CALLED, Message};

use crate::{from, message, number, start};

const MALFORMED: &[&str] = &["malformed-uri"];
const CONTROL: &[&str] = &["control-character"];

/// The URI in brackets in From: its user part, its number, and the message's anomalies.
#[track_caller]
fn reads(uri: &str, user: &str, digits: &str, anomalies: &[&str]) {
    let reading = from(&format!("<{uri}>;tag=1"));
    let read = (reading.user(UriOf::From), number(&reading.0.numbers.from).to_owned(), reading.anomalies());
    assert_eq!(read, (user.to_owned(), digits.to_owned(), anomalies.to_vec()), "{uri:?}");
}

/// Of a bracket that nothing on its line closes.
const UNCLOSED: &[&str] = &["malformed-header", "malformed-uri"];

/// The user part and anomalies of a call's Request-URI.
#[track_caller]
fn calls(uri: &str, user: &str, anomalies: &[&str]) {
    let reading = start(&format!("INVITE {uri} SIP/2.0")).has(anomalies);
    assert_eq!(reading.user(UriOf::Request), user, "{uri:?}");
}

#[test]
fn known_schemes() {
    for scheme in ["sip", "sips", "SIP", "sIpS"] {
        reads(&format!("{scheme}:+12025550100@h"), "+12025550100", "12025550100", &[]);
    }
    reads("tel:+12025550100", "+12025550100", "12025550100", &[]);
    reads("TEL:+1-202-555-0100", "+1-202-555-0100", "12025550100", &[]);
}

#[test]
fn another_scheme_is_read_like_sip() {
    for scheme in ["im", "pres", "mailto", "tels", "x-y"] {
        reads(&format!("{scheme}:+12025550100@h;x"), "+12025550100", "12025550100", &[]);
        // Without an @, it is a user part to some servers only.
        reads(&format!("{scheme}:+12025550100;x"), "+12025550100", "12025550100", MALFORMED);
        reads(&format!("{scheme}:alice?x"), "", "", MALFORMED);
    }
    reads("URL:sip:h", "", "", MALFORMED);
    calls("im:+12025550100@h", "+12025550100", &[]);
    calls("http://192.0.2.1/+12025550100", "", MALFORMED);
    calls("http://12@h", "//12", &[]);
    // Without a scheme, and with a password, servers disagree.
    reads(":12@h", "12", "12", MALFORMED);
    reads("im:12:34@h", "12", "12", MALFORMED);
}

#[test]
fn no_scheme() {
    reads("+12025550100@h", "+12025550100", "12025550100", MALFORMED);
    reads("+12025550100", "", "", MALFORMED);
    reads("alice;x", "", "", MALFORMED);
    reads("alice;x@h", "", "", MALFORMED);
    let bare = from("+12025550100@h;tag=1").has(MALFORMED);
    assert_eq!(bare.user(UriOf::From), "+12025550100");
    calls("12@h", "12", MALFORMED);
    // The user part comes after the colon: this is a scheme, but schemes begin with a letter.
    reads("x12:34@h", "34", "34", &[]);
    reads("12:34@h", "34", "34", MALFORMED);
    assert_eq!(from("alice, 12@h").has(MALFORMED).user(UriOf::From), "alice, 12");
    reads("12\r\n 34@h", "12", "12", MALFORMED);
}

#[test]
fn a_host_made_of_digits_is_odd_unless_it_is_an_address() {
    for host in ["192.0.2.1", "192.0.2.1:5060", "1.example.com", "1-800-x", "3cx", "a.1", "[2001:db8::1]", "host"] {
        reads(&format!("sip:{host}"), "", "", &[]);
    }
    for host in [
        ".911",
        "911",
        "-1900",
        "(900)5551234",
        "1-900-555-1234",
        "190.055.512",
        "190.055.5123.4",
        "1.2.3.4.5",
        "1..3.4",
    ] {
        reads(&format!("sip:{host}"), "", "", MALFORMED);
        reads(&format!("sip:{host};phone-context=+1"), "", "", MALFORMED);
    }
}

#[test]
fn urns() {
    reads("urn:service:sos", "service:sos", "aa", &[]);
    reads("URN:Service:SOS.Police", "Service:SOS.Police", "aa9", &[]);
    reads("urn:service:sos.animal-control;x", "service:sos.animal-control", "aa2", &[]);
    reads("urn:service:sos.x", "service:sos.x", "aac", &[]);
    reads("urn:service:sosx", "service:sosx", "", &[]);
    reads("urn:service:counseling", "service:counseling", "", &[]);
    reads("urn:123", "123", "", &[]);
    reads("urn:a?b", "a", "", &[]);
    reads("urn:a b", "a", "", MALFORMED);
    let reading = start("INVITE urn:service:sos.fire SIP/2.0").has(&[]);
    assert_eq!((number(&reading.0.numbers.called), reading.0.called_format.name()), ("aa3", "valid"));
    let reading = start("INVITE urn:service:counseling SIP/2.0").has(&[]);
    // Who is called is in To.
    assert_eq!((number(&reading.0.numbers.called), reading.0.called_format.name()), (&CALLED[1..], "valid"));
}

#[test]
fn a_scheme_with_blanks_or_escapes() {
    reads("sip :12@h", "12", "12", MALFORMED);
    reads("sip\t :12@h", "12", "12", MALFORMED);
    reads("sip\r\n :12@h", "12", "12", MALFORMED);
    reads("%73ip:12@h", "12", "12", MALFORMED);
    reads("im :12@h", "12", "12", MALFORMED);
    reads("urn :service:sos@h", "service", "", MALFORMED);
}

#[test]
fn what_comes_between_the_scheme_and_the_user_part() {
    reads("sip: 12@h", "12", "12", MALFORMED);
    reads("sip:\r\n 12@h", "12", "12", MALFORMED);
    reads("sip:\u{1}12@h", "12", "12", MALFORMED);
    reads("tel: 12", "12", "12", MALFORMED);
    reads("im: 12@h", "12", "12", MALFORMED);
    reads("URL:sip:12@h", "12", "12", MALFORMED);
    reads("sip:sip:12@h", "12", "12", MALFORMED);
    reads("sip: SIPS:12@h", "12", "12", MALFORMED);
    reads("sip:sip: 12@h", " 12", "12", MALFORMED);
    reads("sip:tel:12", "12", "12", MALFORMED);
    reads("URL:tel:12;x", "12", "12", MALFORMED);
    reads("tel:sip:12@h", "12", "12", MALFORMED);
    reads("tel:tel:12", "12", "12", MALFORMED);
    reads("sip:sip:sip:12@h", "sip", "", MALFORMED);
    // Slashes are part of the user part, but not of its number.
    reads("sip://12@h", "//12", "12", MALFORMED);
    reads("tel://+12025550100", "//+12025550100", "12025550100", MALFORMED);
    reads("im://12@h", "//12", "12", &[]);
    reads("sip:////12@h", "////12", "", MALFORMED);
    assert_eq!(start("INVITE sip: SIP/2.0").has(&[]).user(UriOf::Request), "");
}

#[test]
fn bytes_below_0x21_belong_to_the_user_part() {
    reads("sip:12 @h", "12 ", "12", MALFORMED);
    reads("sip:1\t2@h", "1\t2", "12", MALFORMED);
    reads("sip:12\u{1}@h", "12\u{1}", "12", CONTROL);
    reads("sip:1\u{0}2@h", "1\u{0}2", "12", CONTROL);
    reads("sip:1 \u{b}2@h", "1 \u{b}2", "12", MALFORMED);
    reads("sip:12:p w@h", "12", "12", MALFORMED);
    reads("tel:1 2", "1 2", "12", MALFORMED);
    reads("tel:1\u{1}2", "1\u{1}2", "12", CONTROL);
    reads("tel:12 ", "12", "12", MALFORMED);
    // Without a user part they do not.
    reads("sip:a\u{1}b", "", "", MALFORMED);
}

#[test]
fn a_semicolon_or_colon_before_the_at() {
    reads("sip:12;a=b;c@h", "12;a=b;c", "12", &[]);
    reads("sip:12:pw@h", "12", "12", &[]);
    reads("sip:12;a=b:pw@h", "12;a=b", "12", &[]);
    let bare = |value: &str| from(value).user(UriOf::From);
    assert_eq!(bare("sip:12;otg=x@h;tag=1"), "12;otg=x");
    assert_eq!(bare("sip:h;tag=a@b"), "");
}

#[test]
fn a_line_end_in_the_user_part() {
    reads("sip:12\r\n 34@h", "12", "12", MALFORMED);
    reads("sip:12;a\r\n 34@h", "12;a", "12", MALFORMED);
    reads("sip:12:p\n\tw@h", "12", "12", MALFORMED);
    reads("im:12\r\n 34@h", "12", "12", MALFORMED);
    reads("sip:12\r\n 34", "", "", MALFORMED);
    assert_eq!(from("<sip:12\r\n 34>x@h").has(MALFORMED).user(UriOf::From), "");
    reads("tel:12\r\n 34", "12", "12", MALFORMED);
    let reading = start("INVITE sip:12\r\n 34@h SIP/2.0").has(&["malformed-start-line", "malformed-uri"]);
    assert_eq!(reading.user(UriOf::Request), "12");
}

#[test]
fn an_empty_user_part_is_skipped() {
    reads("sip:@12@h", "12", "12", MALFORMED);
    reads("sip::12@h", "12", "12", MALFORMED);
    reads("sip:;12@h", "12", "12", MALFORMED);
    reads("@12@h", "12", "12", MALFORMED);
    reads("sip:@:12@h", "12", "12", MALFORMED);
    reads("sip:@@@12@h", "12", "12", MALFORMED);
    // Not if there is no user part after it.
    reads("sip:@h", "", "", &[]);
    reads("sip::5060", "", "", &[]);
    calls("sip:@12@h", "12", MALFORMED);
    calls("sip:;x=1+12@h", "x=1+12", MALFORMED);
}

#[test]
fn a_closing_bracket_in_the_request_uri() {
    calls("sip:>12@h", "12", MALFORMED);
    calls("sip:1>2>3@h", "2>3", MALFORMED);
    // In a header it ends the URI.
    reads("sip:1>2@h", "", "", MALFORMED);
    let reading = start("INVITE sip:1> 2@h SIP/2.0").has(&["malformed-start-line", "malformed-uri"]);
    assert_eq!(reading.user(UriOf::Request), " 2");
    calls("sip:12@h>", "12", MALFORMED);
    calls("sip:12@h>x", "12", MALFORMED);
}

#[test]
fn the_host_part() {
    reads("sip:12@a@h", "12", "12", MALFORMED);
    reads("sip:12@h;x=34@g", "12", "12", MALFORMED);
    reads("sip:12@h ", "12", "12", MALFORMED);
    reads("sip:12@ h", "12", "12", MALFORMED);
    reads("sip:12@h\r\n ", "12", "12", MALFORMED);
    reads("sip:12@h;x=\u{1}", "12", "12", MALFORMED);
    reads("sip:h x", "", "", MALFORMED);
    reads("tel:12;x= y", "12", "12", MALFORMED);
    assert_eq!(from("<sip:12@h;a b>").text(Text::FromHost), "h;a");
}

#[test]
fn hosts_that_some_server_takes_for_a_user_part() {
    for host in ["+1", "1234", "//h", "*1", "#1", "h;x=%41", "a b"] {
        reads(&format!("sip:{host}"), "", "", MALFORMED);
    }
    for host in ["192.0.2.1", "h", "[2001:db8::1]", "h;x=+1"] {
        reads(&format!("sip:{host}"), "", "", &[]);
    }
    reads("tel:alice", "alice", "", MALFORMED);
    reads("tel:", "", "", MALFORMED);
}

#[test]
fn where_a_tel_number_ends() {
    for end in [";x=y", "?x"] {
        reads(&format!("tel:+12025550100{end}"), "+12025550100", "12025550100", &[]);
    }
    for end in ["@h", ":x", "#x", "/x", ",x", ","] {
        reads(&format!("tel:+12025550100{end}"), "+12025550100", "12025550100", MALFORMED);
        calls(&format!("tel:+12025550100{end}"), "+12025550100", MALFORMED);
    }
}

#[test]
fn numbers() {
    reads("sip:+1-202.555(0100)@h", "+1-202.555(0100)", "12025550100", &[]);
    reads("sip:(+1)2025550100@h", "(+1)2025550100", "12025550100", &[]);
    reads("sip:%2B1%20202%2D5550100@h", "%2B1%20202%2D5550100", "12025550100", &[]);
    reads("sip:++12025550100@h", "++12025550100", "", &[]);
    reads("sip:1+2@h", "1+2", "", &[]);
    reads("sip:12a@h", "12a", "", &[]);
    reads("sip:+1~2025550100@h", "+1~2025550100", "", &[]);
    reads(&format!("sip:{}12@h", "-".repeat(3000)), &format!("{}12", "-".repeat(3000)), "12", &[]);
}

#[test]
fn bytes_where_some_servers_end_the_user_part() {
    for byte in ["\"", "?", "[", "\\", "]", "^", "`", "{", "|", "}", "\u{7f}", "<"] {
        for user in [format!("12{byte}34"), format!("{byte}12"), format!("12{byte}"), format!("alice{byte}567890")] {
            for uri in
                [format!("sip:{user}@h"), format!("sips:{user}@h"), format!("im:{user}@h"), format!("pres:{user}@h")]
            {
                // Before a question mark, a name ends nowhere.
                let is_name = byte == "?" && user.starts_with('a') && uri.starts_with("sip");
                let anomalies = match byte {
                    _ if is_name => &[],
                    "[" => UNCLOSED,
                    _ => MALFORMED,
                };
                reads(&uri, &user, "", anomalies);
            }
        }
    }
    for byte in ["|", "^", "<", "[", "\u{7f}"] {
        let anomalies = if byte == "[" { UNCLOSED } else { MALFORMED };
        reads(&format!("urn:service:{byte}12"), &format!("service:{byte}12"), "", anomalies);
    }
    // Phones send these, in URIs of their own schemes.
    for byte in ["#", "é", "/", "=", "&", "$", "~", "_", "!", "'"] {
        reads(&format!("sip:alice{byte}567890@h"), &format!("alice{byte}567890"), "", &[]);
    }
    for byte in ["#", "é"] {
        reads(&format!("im:12{byte}34@h"), &format!("12{byte}34"), "", MALFORMED);
    }
    calls("h323:12|@h", "12|", MALFORMED);
    // Not after the number, and not in a number.
    reads("sip:12;x=|@h", "12;x=|", "12", &[]);
}

#[test]
fn escapes_of_control_characters_and_bad_escapes() {
    reads("sip:+12025550100%00@h", "+12025550100%00", "12025550100", MALFORMED);
    reads("sip:+1202%095550100@h", "+1202%095550100", "12025550100", MALFORMED);
    reads("sip:a%1f@h", "a%1f", "", MALFORMED);
    reads("sip:a%20%7f@h", "a%20%7f", "", &[]);
    // Whoever decodes it twice reads another user part.
    reads("sip:+1202%2533@h", "+1202%2533", "", MALFORMED);
    reads("sip:alice%25@h", "alice%25", "", MALFORMED);
    reads("sip:alice%24@h", "alice%24", "", &[]);
    for (user, number) in
        [("12%", "12"), ("1%2", "12"), ("12%3", "123"), ("12%3g", ""), ("al%ice", ""), ("%+12", "+12")]
    {
        reads(&format!("sip:{user}@h"), user, number, MALFORMED);
    }
    reads("tel:12%", "12%", "12", MALFORMED);
    // Not in parameters and passwords.
    reads("sip:12;x=%@h", "12;x=%", "12", &[]);
    reads("sip:12:%@h", "12", "12", &[]);
}

#[test]
fn local_numbers_with_a_global_context() {
    for (uri, number) in [
        ("tel:5550100;phone-context=+1202", "12025550100"),
        ("tel:5550100;x;PHONE-context=+1-(202);y", "12025550100"),
        ("sip:5550100;phone-context=+1202@h;user=phone", "12025550100"),
        ("sip:5550100@h;phone-context=+1202", "5550100"),
        ("sip:5550100;phone-context=+1202:pw@h", "12025550100"),
        // The first counts.
        ("tel:5550100;phone-context=+1202;phone-context=+1303", "12025550100"),
        ("tel:5550100;phone-context=example.com;phone-context=+1202", "5550100"),
        ("tel:5550100;phone-context=example.com", "5550100"),
        ("tel:5550100;phone-context=1202", "5550100"),
        ("tel:5550100;phone-context=+", "5550100"),
        ("tel:5550100;phone-context=+1x", "5550100"),
        ("tel:5550100;phone-context=+123456789012345", "5550100"),
        ("tel:5550100;xphone-context=+1202", "5550100"),
        // Three digits are a short code, and a plus makes the number global.
        ("tel:911;phone-context=+1202", "911"),
        ("tel:9110;phone-context=+1202", "12029110"),
        // Whole already, or with the context in it.
        ("tel:12025550100;phone-context=+44", "12025550100"),
        ("tel:2025550100;phone-context=+44", "12025550100"),
        ("tel:1911;phone-context=+1", "1911"),
        ("tel:+12025550100;phone-context=+1303", "12025550100"),
    ] {
        let reading = from(&format!("<{uri}>")).has(&[]);
        assert_eq!(crate::number(&reading.0.numbers.from), number, "{uri}");
    }
}

#[test]
fn anonymous_words() {
    let is_anonymous = |value: &str| from(value).0.privacy != 0;
    for user in [
        "anonymous",
        "Restricted",
        "UNAVAILABLE",
        "unknown",
        "private",
        "withheld",
        "blocked",
        "hidden",
        "suppressed",
        "Not-Available",
        "Unknown%20Number",
        "private_number",
        "blockednumber",
        "%41nonymous",
        "+anonymous",
        "private;x",
    ] {
        assert!(is_anonymous(&format!("<sip:{user}@h>")), "{user}");
        assert!(is_anonymous(&format!("sip:{user}@h")) || user.contains(';'), "{user}");
    }
    assert!(is_anonymous("<tel:anonymous>"));
    assert!(is_anonymous("<sip:12@anonymous.invalid>"));
    assert!(is_anonymous("<sip:Anonymous.Invalid>"));
    assert!(is_anonymous("<sip:12@anonymous.invalid.example>"));
    for value in
        ["<sip:Unknown%20Caller@h>", "<sip:unknown.number@h>", "<sip:anonymou@h>", "<sip:12@anonymous>", "anonymous"]
    {
        assert!(!is_anonymous(value), "{value}");
    }
}

#[test]
fn the_user_part_of_to_and_contact() {
    let reading = message(Message::invite().set("To", "<im:12@h>").set("Contact", "<14@h;x>")).has(MALFORMED);
    assert_eq!((reading.user(UriOf::To), reading.user(UriOf::Contact)), ("12".to_owned(), "14".to_owned()));
    assert_eq!(reading.text(Text::ContactHost), "h;x");
}

#[test]
fn contacts_without_brackets() {
    for value in [
        "sip:12@h, sip:14@h",
        "sip:12@h ,\r\n <sip:14@h>",
        "sip:12@h;expires=60, \"A\" <sip:14@h>",
        "sip:12@h;x=\"a@b\"",
    ] {
        let reading = message(Message::invite().set("Contact", value)).has(&[]);
        assert_eq!(reading.user(UriOf::Contact), "12", "{value}");
    }
    for value in ["sip:12@h;x=@14", "sip:12@h;x=y@14, sip:15@h"] {
        message(Message::invite().set("Contact", value)).has(MALFORMED);
    }
    // From has one.
    from("sip:12@h;tag=1, sip:14@h").has(MALFORMED);
}

#[test]
fn question_marks_in_names_and_after_numbers() {
    for value in ["<sip:who?@h>", "<sip:alice?x=12@h>", "<sips:a?1@h>"] {
        from(value).has(&[]);
    }
    for value in ["<sip:12?@h>", "<sip:+12?x@h>", "<sip:%31?@h>", "<sip:?a@h>", "<im:who?@h>"] {
        from(value).has(MALFORMED);
    }
}
