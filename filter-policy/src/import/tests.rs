use proptest::prelude::*;

use super::*;

/// The imported entries, without comment and header lines, and the numbers of the lines that could not be read.
fn read(format: &Format, content: &str) -> (Vec<String>, Vec<u32>) {
    let imported = import(format, content.as_bytes(), u64::MAX).unwrap_or_else(|error| panic!("{content}: {error}"));
    let entries: Vec<String> = imported
        .content
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("number") && !line.starts_with("prefix"))
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(entries.len() as u64, imported.entries, "{}", imported.content);
    (entries, imported.problems.listed.iter().map(|problem| problem.line).collect())
}

/// The message and help of the error for an input that is refused.
fn refused(format: &Format, content: &[u8]) -> (String, String) {
    let error = match import(format, content, 100) {
        Ok(imported) => panic!("{}: imported as {}", String::from_utf8_lossy(content), imported.content),
        Err(error) => error,
    };
    (error.to_string(), error.help().unwrap_or_default().to_owned())
}

fn numbers() -> Format {
    Format::Numbers(NumberOptions::default())
}

fn scores() -> Format {
    Format::Scores(NumberOptions::default(), ScoreOptions::default())
}

fn formats() -> [Format; 7] {
    [Format::Apiban, Format::Cidr, Format::Fail2ban, Format::Nanpa, numbers(), scores(), Format::SpamhausDrop]
}

#[test]
fn no_format_accepts_an_input_that_is_not_a_list() {
    for format in formats() {
        for (content, says) in [
            (&b""[..], "empty"),
            (b"\xef\xbb\xbf \r\n\t\n", "empty"),
            (b"<!DOCTYPE html>\n<html><title>Log in</title>", "web page"),
            (b"\n  <html lang=\"en\">", "web page"),
            (b"PK\x03\x04\x14\x00", "ZIP"),
            (b"\x1f\x8b\x08\x00", "gzip"),
            (b"\xff\xfe1\x009\x002\x00", "UTF-16"),
            (b"192.0.2.1\n\x00\x01\x02", "binary"),
        ] {
            let (message, help) = refused(&format, content);
            assert!(message.contains(says), "{}: {message}", format.name());
            assert!(!help.is_empty(), "{}: {message}", format.name());
        }
        // Text, but nothing in this format.
        refused(&format, b"404 page not found\n");
        refused(&format, b"{\"error\": \"invalid key\"}");
    }
}

#[test]
fn an_input_with_comments_alone_has_no_entries() {
    for format in [Format::Cidr, numbers(), scores(), Format::SpamhausDrop] {
        let (message, _) = refused(&format, b"# nothing yet\n; and here neither\n");
        assert!(message.contains("no entries"), "{}: {message}", format.name());
    }
}

#[test]
fn addresses_are_sorted_and_those_that_others_cover_left_out() {
    let (entries, problems) = read(
        &Format::Cidr,
        "\u{feff}# bogons\r\n198.51.100.7\r\n192.0.2.0/24 # doc; net\r\n192.0.2.9 ; in it\r\n2001:db8:1::/48\r\n\
         2001:db8::/32\r\n198.51.100.7\r\n192.0.2.0/26\r\n192.0.3.1/32\r\n",
    );
    assert_eq!(entries, ["192.0.2.0/24 # doc net", "192.0.3.1", "198.51.100.7", "2001:db8::/32"]);
    assert!(problems.is_empty());
}

#[test]
fn what_is_no_address_is_noted_with_its_line_and_reason() {
    let content = "192.0.2.1\nexample.com\n192.0.2.77/26\n0.0.0.0/0\n300.1.1.1\n192.0.2.1-192.0.2.9\n::/0\n";
    let (entries, problems) = read(&Format::Cidr, content);
    assert_eq!(entries, ["192.0.2.1"]);
    assert_eq!(problems, [2, 3, 4, 5, 6, 7]);
    let imported = import(&Format::Cidr, content.as_bytes(), 6).expect("six may be wrong");
    assert!(imported.problems.listed[0].reason.contains("names are not looked up"), "{imported:?}");
    assert!(imported.problems.listed[1].reason.contains("192.0.2.64/26"), "{imported:?}");
    let error = import(&Format::Cidr, content.as_bytes(), 5).expect_err("one too many");
    assert!(error.to_string().contains("line 2: "), "{error}");
}

#[test]
fn spamhaus_lists_are_read_as_text_and_as_json() {
    let text = "; Spamhaus DROP List 2026/11/21 - (c) 2026 The Spamhaus Project\n; Last-Modified: x\n\
                223.254.0.0/16 ; SBL212803\n1.10.16.0/20 ; SBL256894\n";
    let json = "{\"cidr\":\"1.10.16.0/20\",\"sblid\":\"SBL256894\",\"rir\":\"apnic\"}\n\
                {\"cidr\":\"223.254.0.0/16\",\"sblid\":\"SBL212803\",\"rir\":\"apnic\"}\n\
                {\"type\":\"metadata\",\"timestamp\":1790329442,\"size\":99,\"records\":2,\"terms\":\"...\"}\n";
    let expected = (vec!["1.10.16.0/20 # SBL256894".to_owned(), "223.254.0.0/16 # SBL212803".to_owned()], vec![]);
    assert_eq!(read(&Format::SpamhausDrop, text), expected);
    assert_eq!(read(&Format::SpamhausDrop, json), expected);
    // The lists of both families, concatenated.
    let both =
        format!("{json}{{\"cidr\":\"2a06:e480::/29\",\"sblid\":\"SBL1\"}}\n{{\"type\":\"metadata\",\"records\":1}}\n");
    assert_eq!(read(&Format::SpamhausDrop, &both).0.len(), 3);
}

#[test]
fn a_spamhaus_list_that_is_cut_off_is_refused() {
    let (message, help) = refused(&Format::SpamhausDrop, b"{\"cidr\":\"1.10.16.0/20\"}\n{\"cidr\":\"223.2");
    assert!(message.contains("line 2 ends in the middle") && help.contains("again"), "{message}: {help}");
    let (message, _) =
        refused(&Format::SpamhausDrop, b"{\"cidr\":\"1.10.16.0/20\"}\n{\"type\":\"metadata\",\"records\":7}\n");
    assert!(message.contains("7 records, and there are 1"), "{message}");
}

#[test]
fn apiban_pages_are_read_in_sequence() {
    let pages = "{\"ipaddress\":[\"192.0.2.7\",\"192.0.2.1\"],\"ID\":\"1690000000\"}\n\
                 {\"ipaddress\":[\"2001:db8::1\",\"x\"],\"ID\":\"1690000100\"}{\"ipaddress\":[\"no new bans\"],\"ID\":\"none\"}";
    assert_eq!(
        read(&Format::Apiban, pages),
        (vec!["192.0.2.1".to_owned(), "192.0.2.7".to_owned(), "2001:db8::1".to_owned()], vec![2])
    );
}

#[test]
fn an_apiban_response_without_a_list_gives_the_reason() {
    for (content, says) in [
        ("{\"ipaddress\":[\"rate limit exceeded\"],\"ID\":\"unauthorized\"}", "rate limit exceeded"),
        ("{\"ipaddress\":[\"no new bans\"],\"ID\":\"none\"}", "nothing new"),
        ("{\"ipaddress\":[\"192.0.2.1\",\"192.0", "middle"),
        ("{\"error\":\"bad key\"}", "`ipaddress`"),
        ("192.0.2.1\n", "not JSON"),
    ] {
        let (message, help) = refused(&Format::Apiban, content.as_bytes());
        assert!(message.contains(says) && help.contains("apiban.org"), "{content}: {message}");
    }
}

#[test]
fn fail2ban_is_read_in_all_its_forms() {
    for (content, expected) in [
        (
            "[{'sshd': ['203.0.113.5', '192.0.2.1']}, {'asterisk': [\"2001:db8::5\", '192.0.2.1']}, {'x': []}]\n",
            vec!["192.0.2.1 # asterisk, sshd", "203.0.113.5 # sshd", "2001:db8::5 # asterisk"],
        ),
        ("{'sshd': ('192.0.2.1',), 'asterisk': []}", vec!["192.0.2.1 # sshd"]),
        ("['192.0.2.1', '192.0.2.2']\n", vec!["192.0.2.1", "192.0.2.2"]),
        ("192.0.2.2 192.0.2.1\n", vec!["192.0.2.1", "192.0.2.2"]),
        ("192.0.2.2\n192.0.2.1\n", vec!["192.0.2.1", "192.0.2.2"]),
        (
            "192.0.2.2 \t2026-11-20 12:00:00 + 600 = 2026-11-20 12:10:00\n192.0.2.1 \t2026-11-20 12:00:05 + 600 = 2026-11-20 12:10:05\n",
            vec!["192.0.2.1", "192.0.2.2"],
        ),
        (
            "Status for the jail: asterisk\n|- Filter\n|  |- Currently failed:\t7\n|  `- File list:\t/var/log/asterisk\n\
             `- Actions\n   |- Currently banned:\t2\n   |- Total banned:\t4\n   `- Banned IP list:\t192.0.2.2 192.0.2.1\n",
            vec!["192.0.2.1 # asterisk", "192.0.2.2 # asterisk"],
        ),
        ("[]\n", vec![]),
        ("[{'sshd': []}]\n", vec![]),
        ("Status for the jail: sshd\n   `- Banned IP list:\t\n", vec![]),
    ] {
        assert_eq!(
            read(&Format::Fail2ban, content),
            (expected.iter().map(|&entry| entry.to_owned()).collect(), vec![]),
            "{content}"
        );
    }
}

#[test]
fn fail2ban_output_that_is_cut_off_or_an_error_is_refused() {
    for (content, says) in [
        ("[{'sshd': ['192.0.2.1', '192.", "middle of the list"),
        ("[{'sshd': ['192.0.2.1'", "middle of the list"),
        ("[{'sshd': ['192.0.2.1']}] x", "unexpected"),
        ("Status for the jail: sshd\n|- Filter\n", "Banned IP list"),
        ("Sorry but the jail 'sshd' does not exist\n", "nothing in the input could be read"),
    ] {
        let (message, help) = refused(&Format::Fail2ban, content.as_bytes());
        assert!(message.contains(says), "{content}: {message}");
        assert!(!help.is_empty(), "{content}");
    }
    let deep = "[".repeat(100_000);
    assert!(refused(&Format::Fail2ban, deep.as_bytes()).0.contains("deep"));
}

#[test]
fn numbers_are_read_in_all_their_spellings() {
    for (written, becomes) in [
        ("2025550100", "+12025550100$"),
        ("(202) 555-0100", "+12025550100$"),
        ("1-202-555-0100", "+12025550100$"),
        ("+1.202.555.0100", "+12025550100$"),
        ("011442079460123", "+442079460123$"),
        ("+442079460123", "+442079460123$"),
        ("202", "+1202"),
        ("202555", "+1202555"),
        ("202-555-1", "+12025551"),
        ("202555XXXX", "+1202555"),
        ("202-555-****", "+1202555"),
        ("1605562", "+1605562"),
        ("1605562$", ""),
        ("911$", "911$"),
    ] {
        let imported = import(&numbers(), format!("{written}\n").as_bytes(), 0);
        match imported {
            Ok(imported) => {
                let last = imported.content.lines().last().unwrap_or_default().to_owned();
                assert_eq!(last, becomes, "{written}");
            }
            Err(error) => assert_eq!(becomes, "", "{written}: {error}"),
        }
    }
}

#[test]
fn number_lists_have_their_column_found_by_its_name() {
    for content in [
        "2025550100\n3035550101 # bank\n",
        "Phone Number\n2025550100\n3035550101\n",
        "Date,Company_Phone_Number,Subject\n2026-01-01,2025550100,\"x, y\"\n2026-01-02,\"3035550101\",\n",
        "state;TN\r\nDC;202-555-0100\r\nCO;303-555-0101\r\n",
        "# header\nnumber\tcomment\n2025550100\tx\n3035550101\ty\n",
        "2025550100,tax office\n3035550101,bank\n",
        "2025550100,DNO\n3035550101,from\n",
    ] {
        assert_eq!(read(&numbers(), content).0, ["+12025550100$", "+13035550101$"], "{content}");
    }
    let options = NumberOptions { column: Some("Line ID".to_owned()), ..NumberOptions::default() };
    let (entries, _) = read(&Format::Numbers(options.clone()), "line-id,phone\n2025550100,3035550101\n");
    assert_eq!(entries, ["+12025550100$"]);
    let (message, help) = refused(&numbers(), b"subscriber,city\n2025550100,x\n");
    assert!(message.contains("`subscriber`, `city`") && help.contains("--column"), "{message}");
    let (message, _) = refused(&Format::Numbers(options), b"phone\n2025550100\n");
    assert!(message.contains("`phone`"), "{message}");
}

#[test]
fn numbers_of_other_countries_need_their_calling_code() {
    let german = Format::Numbers(NumberOptions {
        country_code: "49".to_owned(),
        national_prefix: "0".to_owned(),
        ..NumberOptions::default()
    });
    let (entries, problems) = read(&german, "030 1234567\n301234568\n0044 20 7946 0123\n+12025550100\n030*\n");
    assert_eq!(entries, ["+12025550100$", "+442079460123$", "+4930"]);
    assert!(problems.is_empty());
    // As the engine reads them in messages.
    let written = "49305550102\n+49 (0)30 5550103\n0049 30 5550104\n030 5550105\n305550106\n+0049305550107\n";
    let (entries, problems) = read(&german, written);
    let expected: Vec<String> = (2..8).map(|last| format!("+4930555010{last}$")).collect();
    assert_eq!(entries, expected);
    assert!(problems.is_empty());
    let e164 = Format::Numbers(NumberOptions { e164: true, ..NumberOptions::default() });
    assert_eq!(read(&e164, "442079460123\n12025550100\n").0, ["+12025550100$", "+442079460123$"]);
    let (message, _) = refused(&numbers(), b"442079460123\n");
    assert!(message.contains("12 digits"), "{message}");
}

#[test]
fn a_prefix_takes_the_place_of_what_it_covers_unless_it_ends_earlier() {
    let content = "number,expires\n202555,2026-12-31\n2025550100,\n2025550101,2026-06-01\n2025550100,2026-01-01\n202556XXXX,\n\
                   2025560100,2027-01-01\n2025550102,tomorrow\n";
    let (entries, problems) = read(&numbers(), content);
    assert_eq!(entries, ["+1202555,2026-12-31", "+12025550100$,", "+1202556,"]);
    assert_eq!(problems, [8]);
}

#[test]
fn scores_are_brought_to_the_scale_of_policies() {
    let content =
        "phone,risk_score\n2125559080,80\n2125559020,20\n2125559080,85\n2125559100,101\n2125559060,\n2125559000,0\n";
    let (entries, problems) = read(&scores(), content);
    assert_eq!(entries, ["+12125559000$,0", "+12125559020$,20", "+12125559080$,85"]);
    assert_eq!(problems, [5, 6]);
    let unit = Format::Scores(NumberOptions::default(), ScoreOptions { column: None, most: 1.0 });
    assert_eq!(read(&unit, "2125559080,0.8\n2125559055,0.555\n").0, ["+12125559055$,56", "+12125559080$,80"]);
    let (message, help) = refused(&scores(), b"phone,city\n2125559080,x\n");
    assert!(message.contains("no column of scores") && help.contains("--score-column"), "{message}");
}

#[test]
fn central_office_codes_become_a_numbering_table() {
    // In Latin-1 (company names), with CRLF and trailing blanks.
    let report =
        b"State \tNPA-NXX\tOCN\tCompany\tRateCenter\tEffectiveDate\tUse\tAssignDate\tInitial/Growth\tPooled Code\r\n\
        SD \t605-562\t6529\tMARTIN TEL\xc9PHONE\tMARTIN\t\tAS\t01/01/1990\t\tN\r\n\
        SD \t605-563\t\t\t\t\tUA\t\t\t\r\n\
        SD \t605-225\t9631\tQWEST CORPORATION\tABERDEEN\t\tAS\t\t\t\r\n\
        NE \t605-226\t9631\tQWEST CORPORATION\tVALENTINE\t\tAS\t\t\t\r\n\
        DC \t202-456\t\t\t\t\tVC\t\t\t\r\n\
        SD \t605-225\t9631\tQWEST CORPORATION\tABERDEEN\t\tAS\t\t\t\r\n\
        SD \t605-225\t0001\tX\tABERDEEN\t\tAS\t\t\t\r\n\
        SD \t60-225\t0001\tX\t\t\tAS\t\t\t\r\n\
        SD \t605-227\t0001\tX\t\t\tOWNED\t\t\t\r\n";
    let imported = import(&Format::Nanpa, report, 3).expect("it is a report");
    let rows: Vec<&str> = imported.content.lines().skip(1).collect();
    assert_eq!(
        rows,
        [
            "prefix,country,region,ocn,assigned",
            "1202456,US,US-DC,,no",
            "1605,US,US-SD,,no",
            "1605225,US,US-SD,9631,yes",
            "1605226,US,US-NE,9631,yes",
            "1605562,US,US-SD,6529,yes",
        ]
    );
    assert_eq!(imported.duplicates, 1);
    let lines: Vec<u32> = imported.problems.listed.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [8, 9, 10]);
}

#[test]
fn canadian_and_available_code_reports_are_read_too() {
    let canadian = "\"NPA\",\"CO Code (NXX)\",\"Status\",\"Pooled\",\"Exchange Area\",\"Province\",\"Company\",\"OCN\",\"Remarks\"\n\
                    ,,,,,,,,2026-11-20\n\
                    902,200,In Service,No,Halifax,NS,\"Bell, Aliant\",8089,\n\
                    902,367,In Service,No,Charlottetown,PE,Bell,8089,\n\
                    902,999,Special Use,,,,,,\n902,201,Available,,,,,,\n";
    let (entries, problems) = read(&Format::Nanpa, canadian);
    assert_eq!(entries, ["1902,CA,,,no", "1902200,CA,CA-NS,8089,yes", "1902367,CA,CA-PE,8089,yes"]);
    assert!(problems.is_empty());
    let available = "State\tNPA-NXX\nSD\t605-999\nSD\t605-204\n";
    assert_eq!(read(&Format::Nanpa, available).0, ["1605204,US,US-SD,,no", "1605999,US,US-SD,,no"]);
    let (message, help) = refused(&Format::Nanpa, b"SD,605,562,6529\n");
    assert!(message.contains("NPA-NXX") && help.contains("header"), "{message}");
}

#[test]
fn comments_cannot_steer_a_terminal_or_begin_a_line() {
    let (entries, _) = read(&Format::Cidr, "192.0.2.1 # a\u{1b}[31m\u{202e}b # c\n");
    assert_eq!(entries, ["192.0.2.1 # a [31m\\u{202e}b c"]);
}

proptest! {
    #[test]
    fn imported_lists_are_imported_unchanged(
        addresses in proptest::collection::vec((any::<u32>(), 1..=32_u8), 1..60),
        six in proptest::collection::vec((any::<u128>(), 1..=128_u8), 0..20),
        listed in proptest::collection::vec(("(\\+?[1-9]|20|605)[0-9]{0,9}[$X]?", 0..=100_u32, any::<bool>()), 1..60),
    ) {
        let mut text = String::new();
        for (address, prefix) in addresses {
            let bits = address & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            text += &format!("{}/{prefix}\n", std::net::Ipv4Addr::from_bits(bits));
        }
        for (address, prefix) in six {
            let bits = address & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            text += &format!("{}/{prefix} # x\n", std::net::Ipv6Addr::from_bits(bits));
        }
        let mut column = "number,score,expires\n".to_owned();
        for (number, score, expires) in listed {
            column += &format!("{number},{score},{}\n", if expires { "2026-12-31" } else { "" });
        }
        for (format, content) in [(Format::Cidr, &text), (numbers(), &column), (scores(), &column)] {
            // A list in which nothing can be a number is an error, which is fine.
            let Ok(first) = import(&format, content.as_bytes(), u64::MAX) else { continue };
            let second = import(&format, first.content.as_bytes(), 0).expect("its own output can be read");
            prop_assert_eq!(&first.content, &second.content);
            prop_assert_eq!(second.duplicates, 0);
            prop_assert_eq!(first.entries, second.entries);
        }
    }

    #[test]
    fn any_bytes_can_be_given_to_any_format(
        content in proptest::collection::vec(any::<u8>(), 0..300),
        start in prop_oneof![
            Just(""), Just("["), Just("{'a': ['"), Just("{\"ipaddress\":["), Just("{\"cidr\":\""), Just("number,score\n"),
            Just("State\tNPA-NXX\tOCN\tUse\n"), Just("Status for the jail: a\nIP list:"),
        ],
    ) {
        let content = [start.as_bytes(), &content].concat();
        for format in formats() {
            if let Ok(imported) = import(&format, &content, u64::MAX) {
                let name = std::sync::Arc::new(std::path::PathBuf::from("list.csv"));
                let mut diagnostics = crate::language::diagnostics::Diagnostics::default();
                let bytes = imported.content.as_bytes();
                let plan = crate::model::NumberingPlan::default();
                let form = crate::lists::NumberForm::new(false, &plan);
                let entries = match format {
                    Format::Nanpa => crate::lists::ranges(&name, bytes, &mut diagnostics).len(),
                    Format::Numbers(_) | Format::Scores(..) => {
                        crate::lists::numbers(&name, bytes, &form, (0, 0, 0), &mut diagnostics).entries.len()
                    }
                    Format::Apiban | Format::Cidr | Format::Fail2ban | Format::SpamhausDrop => crate::lists::addresses(&name, bytes, &mut diagnostics).len(),
                };
                prop_assert!(diagnostics.is_empty(), "{}\n{}", imported.content, diagnostics);
                prop_assert_eq!(entries as u64, imported.entries);
            }
        }
    }
}
