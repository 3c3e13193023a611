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

fn cidr() -> Format {
    Format::Cidr(ColumnOptions::default())
}

fn ipset() -> Format {
    Format::Ipset(SetOptions::default())
}

fn nft() -> Format {
    Format::Nft(SetOptions::default())
}

fn formats() -> [Format; 10] {
    [
        Format::Apiban,
        cidr(),
        Format::Crowdsec,
        Format::Fail2ban,
        ipset(),
        Format::Nanpa,
        nft(),
        numbers(),
        scores(),
        Format::SpamhausDrop,
    ]
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
            (b"1\x009\x002\x00", "UTF-16"),
            (b"\x7fELF\x00\x00", "binary"),
            (b"<?xml version=\"1.0\"?>", "XML"),
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
    for format in [cidr(), numbers(), scores(), Format::SpamhausDrop] {
        let (message, _) = refused(&format, b"# nothing yet\n; and here neither\n");
        assert!(message.contains("no entries"), "{}: {message}", format.name());
    }
}

#[test]
fn addresses_are_sorted_and_those_that_others_cover_left_out() {
    let (entries, problems) = read(
        &cidr(),
        "\u{feff}# bogons\r\n198.51.100.7\r\n192.0.2.0/24 # doc; net\r\n192.0.2.9 ; in it\r\n2001:db8:1::/48\r\n\
         2001:db8::/32\r\n198.51.100.7\r\n192.0.2.0/26\r\n192.0.3.1/32\r\n",
    );
    assert_eq!(entries, ["192.0.2.0/24 # doc net", "192.0.3.1", "198.51.100.7", "2001:db8::/32"]);
    assert!(problems.is_empty());
}

#[test]
fn what_is_no_address_is_noted_with_its_line_and_reason() {
    let content = "192.0.2.1\nexample.com\n192.0.2.77/26\n0.0.0.0/0\n300.1.1.1\n192.0.2.1-192.0.2.9\n::/0\n";
    let (entries, problems) = read(&cidr(), content);
    assert_eq!(entries, ["192.0.2.1"]);
    assert_eq!(problems, [2, 3, 4, 5, 6, 7]);
    let imported = import(&cidr(), content.as_bytes(), 6).expect("six may be wrong");
    assert!(imported.problems.listed[0].reason.contains("names are not looked up"), "{imported:?}");
    assert!(imported.problems.listed[1].reason.contains("192.0.2.64/26"), "{imported:?}");
    let error = import(&cidr(), content.as_bytes(), 5).expect_err("one too many");
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
        (
            "Status for the jail: a\n   |- Currently banned:\t1\n   `- Banned IP list:\t192.0.2.2\n\
             Status for the jail: b\n   `- Banned IP list:\t192.0.2.1\n",
            vec!["192.0.2.1 # b", "192.0.2.2 # a"],
        ),
        ("::ffff:192.0.2.1\n", vec!["192.0.2.1"]),
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
        ("Sorry but the jail 'sshd' does not exist\n", "an error message of fail2ban"),
        (
            "Status for the jail: a\n`- Actions\nStatus for the jail: b\n   `- Banned IP list:\t192.0.2.1\n",
            "Banned IP list",
        ),
        (
            "Status for the jail: a\n   |- Currently banned:\t2\n   `- Banned IP list:\t192.0.2.1\n",
            "2 addresses are banned, but 1 listed",
        ),
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
        ("2025551XXX", "+12025551"),
        ("5550199", ""),
        ("555-0199", ""),
        ("1-555-0199", ""),
        ("+15550199", ""),
        ("911", ""),
        ("411", ""),
        ("20255501", ""),
        ("2025550100.0", ""),
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
    let (entries, _) = read(&cidr(), "192.0.2.1 # a\u{1b}[31m\u{202e}b # c\n");
    assert_eq!(entries, ["192.0.2.1 # a [31m\\u{202e}b c"]);
}

#[test]
fn a_feed_in_columns_has_its_column_of_addresses_found() {
    // (As SIP feeds are published: a name may have a bar in it.)
    let feed = "#  A feed\n#  ASN  |  ASname  |  ipaddr  |  lastseen\n\
                64496  |  EXAMPLE, US  |    203.0.113.9  |  2026-11-20 03:32:29\n\
                64497  |  ONE | TWO  |  198.51.100.7  |  2026-11-20 03:32:29\nNA  |  NA  |  2001:db8::7  |  x\n\
                64498  |  NONE  |  unknown  |  x\n64499  |  A | 192.0.2.1  |  192.0.2.2  |  x\n";
    let (entries, problems) = read(&cidr(), feed);
    assert_eq!(entries, ["198.51.100.7", "203.0.113.9", "2001:db8::7"]);
    assert_eq!(problems, [6, 7]);
    let columns = |column: &str, separator| Format::Cidr(ColumnOptions { column: Some(column.to_owned()), separator });
    for (format, content) in [
        (columns("ip", None), "first_seen,ip,note\n2026-01-01,192.0.2.1,\"a\nb, 192.0.2.9\"\n"),
        (columns("2", None), "2026-01-01 00:00:00,192.0.2.1\n"),
        (columns("Ip", Some(b';')), "note;IP\n\"x;y\";192.0.2.1\n"),
        (columns("2", Some(b' ')), "x 192.0.2.1\n"),
        (columns("ip", None), "# name | ip\nx | 192.0.2.1\n"),
    ] {
        assert_eq!(read(&format, content), (vec!["192.0.2.1".to_owned()], vec![]), "{content}");
    }
    let (message, help) = refused(&columns("addr", None), b"a,b\n1,192.0.2.1\n");
    assert!(message.contains("no column `addr`: the columns are `a`, `b`") && help.contains("header"), "{message}");
    assert_eq!(
        read(&columns("ip", None), "a|ip\nx|y|192.0.2.1\nx|192.0.2.2\n"),
        (vec!["192.0.2.2".to_owned()], vec![2])
    );
}

/// Inputs with addresses in them that are not banned, or not only.
const NOT_BANNED: [(&str, &str); 13] = [
    ("These IP addresses/networks are ignored:\n|- 127.0.0.0/8\n`- 192.0.2.10\n", "never bans"),
    ("2026-11-20 13:22:46,111 fail2ban.actions [812]: NOTICE [sshd] Unban 192.0.2.10\n", "a log of fail2ban"),
    ("Nov 20 13:22:46 pbx fail2ban.actions: Ban 192.0.2.10\n", "a log of fail2ban"),
    ("Nov 20 13:22:46 pbx sshd[1]: 192.0.2.10\n", "a log"),
    ("Status\n|- Number of jail:\t1\n`- Jail list:\tsshd\n", "jails"),
    ("-P INPUT ACCEPT\n-A INPUT -s 192.0.2.10/32 -j ACCEPT\n", "iptables"),
    (
        "Chain INPUT (policy ACCEPT)\ntarget prot opt source destination\nACCEPT all -- 192.0.2.10 0.0.0.0/0\n",
        "iptables",
    ),
    ("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 192.0.2.10 -j ACCEPT\n", "iptables"),
    ("id(int,auto) grp(int) ip_addr(string)\n1:1:192.0.2.10\n", "Kamailio"),
    ("{\n\tentry: 12\n\tslot: {\n\t\tname: 192.0.2.10\n", "Kamailio"),
    ("id,scope,value,reason,country,as,decisions,created_at\n1,Ip,192.0.2.10,x,,,,\n", "alerts"),
    ("+----+------+\n| ID | IP   |\n| 1 | 192.0.2.10 |\n", "drawn for people"),
    ("{\"new\":[{\"value\":\"192.0.2.10\"}],\"deleted\":[]}", "changes"),
];

#[test]
fn an_input_that_lists_something_else_is_refused_by_name() {
    let addresses = [Format::Apiban, cidr(), Format::Crowdsec, Format::Fail2ban, ipset(), nft(), Format::SpamhausDrop];
    for (content, says) in NOT_BANNED {
        for format in &addresses {
            let (message, help) = refused(format, content.as_bytes());
            assert!(message.contains(says) && !help.is_empty(), "{}: {content}: {message}", format.name());
        }
    }
    // What one format reads, the others refuse, and name it.
    for (known, content) in [
        ("apiban", "{\"ipaddress\":[\"192.0.2.1\"],\"ID\":\"1\"}"),
        ("crowdsec", CROWDSEC),
        ("fail2ban", "Status for the jail: a\n`- Banned IP list:\t192.0.2.1\n"),
        ("ipset", "create a hash:ip family inet\nadd a 192.0.2.1\n"),
        ("ipset", "add a 192.0.2.1 comment \"reported by 192.0.2.10\"\n"),
        ("ipset", "Name: a\nType: hash:ip\nMembers:\n192.0.2.1\n"),
        ("nft", NFT),
        ("nft", "{\"nftables\": [{\"set\": {}}]}"),
        ("spamhaus-drop", "{\"cidr\":\"192.0.2.0/24\",\"sblid\":\"SBL1\"}\n{\"type\":\"metadata\",\"records\":1}\n"),
    ] {
        for format in addresses.iter().filter(|format| format.name() != known) {
            let (_, help) = refused(format, content.as_bytes());
            assert!(help.contains(&format!("ringfence import {known}")), "{}: {content}: {help}", format.name());
        }
    }
}

#[test]
fn fail2ban_is_read_by_its_grammar() {
    for (content, says) in [
        ("192.0.2.1 # of the office\n", "line 1: `#`"),
        ("192.0.2.1\nUnban 192.0.2.2\n", "line 2: `Unban`"),
        ("192.0.2.1 \t2026-11-20 12:00:00 + 600 = 2026-11-20 12:10:00\n192.0.2.2\n", "line 2"),
        ("192.0.2.1 \t2026-11-20 12:00:00 unbanned\n", "line 1"),
        ("[['sshd', 'asterisk']]\n", "not a list of jails"),
        ("{'a': {'b': ['192.0.2.1']}}\n", "not a list of jails"),
        ("['192.0.2.1', ['192.0.2.2']]\n", "not a list of jails"),
        ("Status for the jail: a\n`- Banned IP list:\t192.0.2.1\n192.0.2.2 is ignored\n", "line 3"),
    ] {
        let (message, help) = refused(&Format::Fail2ban, content.as_bytes());
        assert!(message.contains(says) && help.contains("banned"), "{content}: {message}");
    }
}

#[test]
fn an_ipset_is_read_as_saved_and_as_listed() {
    let saved = "create banned hash:net family inet hashsize 1024 maxelem 65536 timeout 600 comment bucketsize 12 initval 0x5\n\
                 add banned 203.0.113.7 timeout 512 comment \"by 203.0.113.200 # today\"\n\
                 add banned 192.0.2.0/24 timeout 0 packets 1 bytes 2\nadd banned 192.0.2.64/26 nomatch\n\
                 add banned 192.0.2.65 timeout 1\ncreate ports bitmap:port range 0-65535\nadd ports 5060\n";
    let listed = "Name: banned\nType: hash:net\nRevision: 7\nHeader: family inet hashsize 1024 maxelem 65536 comment\n\
                  Size in memory: 1240\nReferences: 1\nNumber of entries: 4\nMembers:\n\
                  203.0.113.7 comment \"by 203.0.113.200 # today\"\n192.0.2.0/24\n192.0.2.64/26 nomatch\n192.0.2.65\n\n\
                  Name: ports\nType: bitmap:port\nHeader: range 0-65535\nNumber of entries: 1\nMembers:\n5060\n";
    for content in [saved, listed] {
        let (entries, problems) = read(&ipset(), content);
        assert_eq!(
            entries,
            ["192.0.2.0/26", "192.0.2.65", "192.0.2.128/25", "203.0.113.7 # by 203.0.113.200 today"],
            "{content}"
        );
        assert!(problems.is_empty());
        let imported = import(&ipset(), content.as_bytes(), 0).expect("it is a set");
        let notes: Vec<&str> = imported.notes.listed.iter().map(|note| note.reason.as_str()).collect();
        assert_eq!(imported.notes.count, 2);
        assert!(notes[0].contains("ports") && notes[1].contains("192.0.2.64/26 is an exception"), "{notes:?}");
    }
    assert!(read(&ipset(), "create a hash:ip family inet hashsize 64\n").0.is_empty());
}

#[test]
fn of_several_sets_one_must_be_named() {
    let saved = "create banned hash:ip family inet\ncreate office hash:ip family inet\nadd banned 192.0.2.1\nadd office 192.0.2.2\n";
    let (message, help) = refused(&ipset(), saved.as_bytes());
    assert!(message.contains("2 sets: `banned`, `office`") && help.contains("--set"), "{message}: {help}");
    let named = |sets: &[&str]| SetOptions { sets: sets.iter().map(|&set| set.to_owned()).collect() };
    assert_eq!(read(&Format::Ipset(named(&["banned"])), saved).0, ["192.0.2.1"]);
    assert_eq!(read(&Format::Ipset(named(&["office", "banned"])), saved).0, ["192.0.2.1", "192.0.2.2"]);
    let (message, help) = refused(&Format::Ipset(named(&["x"])), saved.as_bytes());
    assert!(message.contains("no set `x`") && help.contains("`banned`"), "{message}: {help}");
    let tables = "table ip a {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 192.0.2.1 }\n\t}\n}\n\
                  table ip b {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 192.0.2.2 }\n\t}\n}\n";
    let (_, help) = refused(&Format::Nft(named(&["s"])), tables.as_bytes());
    assert!(help.contains("`a/s`, `b/s`"), "{help}");
    assert_eq!(read(&Format::Nft(named(&["b/s"])), tables).0, ["192.0.2.2"]);
}

#[test]
fn a_set_that_is_cut_off_or_holds_no_addresses_is_refused() {
    for (content, says) in [
        ("create a hash:ip,port family inet\nadd a 192.0.2.1,tcp:5060\n", "the type of `a` is `hash:ip,port`"),
        ("create a list:set size 8\nadd a b\n", "list:set"),
        ("create a hash:ip\nadd a 192.0.2.1\ndel a 192.0.2.2\n", "line 3: `del a 192.0.2.2`"),
        ("create a hash:ip\nadd a 192.0.2.1 comment \"cut o\n", "line 2"),
        ("create a hash:ip\nadd a 192.0.2.1 until tomorrow\n", "line 2"),
        (
            "Name: a\nType: hash:ip\nHeader: family inet\nNumber of entries: 2\nMembers:\n192.0.2.1\n",
            "announces 2 entries, and has 1",
        ),
        ("Name: a\nType: hash:ip\nHeader: family inet\nNumber of entries: 2\n", "without its members"),
    ] {
        let (message, help) = refused(&ipset(), content.as_bytes());
        assert!(message.contains(says) && !help.is_empty(), "{content}: {message}");
    }
    // Elements that have timed out may still be counted.
    let timed = "Name: a\nType: hash:ip\nHeader: family inet timeout 600\nNumber of entries: 2\nMembers:\n192.0.2.1 timeout 5\n";
    assert_eq!(read(&ipset(), timed).0, ["192.0.2.1"]);
    let whole = NFT.trim_end();
    for end in [whole.len() - 1, whole.len() - 3, whole.find("198.51").expect("it is there")] {
        let (message, _) = refused(&nft(), &whole.as_bytes()[..end]);
        assert!(message.contains("middle of a table"), "{message}");
    }
    for (content, says) in [
        (
            "table ip t {\n\tset s {\n\t\ttype ipv4_addr . inet_service\n\t\telements = { 192.0.2.1 . 5060 }\n\t}\n}\n",
            "ipv4_addr . inet_service",
        ),
        (
            "table ip t {\n\tmap m {\n\t\ttype ipv4_addr : verdict\n\t\telements = { 192.0.2.1 : accept }\n\t}\n}\n",
            "no sets",
        ),
        ("flush ruleset\ntable ip t {\n}\n", "`flush`"),
    ] {
        let (message, _) = refused(&nft(), content.as_bytes());
        assert!(message.contains(says), "{content}: {message}");
    }
}

const NFT: &str = "table inet filter { # handle 1\n\tcomment \"a { b\"\n\tset banned {\n\t\ttype ipv4_addr\n\t\tflags interval,timeout\n\
    \t\tcomment \"of 192.0.2.200\"\n\t\telements = { 203.0.113.7 timeout 1h expires 59m3s comment \"x, } 192.0.2.201\", 198.51.100.0/28,\n\
    \t\t\t     192.0.2.10-192.0.2.20 counter packets 3 bytes 4 }\n\t}\n\n\tset ports {\n\t\ttype inet_service\n\t\telements = { 5060 }\n\t}\n\n\
    \tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t\tip saddr { 10.0.0.1, 10.0.0.2 } accept\n\
    \t\tip saddr @banned drop\n\t}\n}\n";

#[test]
fn a_set_of_nftables_is_read_as_text_and_as_json() {
    let json = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet", "name": "filter"}},
        {"set": {"family": "inet", "name": "banned", "table": "filter", "type": "ipv4_addr", "flags": ["interval"], "elem": [
            {"elem": {"val": "203.0.113.7", "timeout": 3600, "expires": 3543, "comment": "x, } 192.0.2.201"}},
            {"prefix": {"addr": "198.51.100.0", "len": 28}}, {"range": ["192.0.2.10", "192.0.2.20"]}]}},
        {"set": {"name": "ports", "table": "filter", "type": "inet_service", "elem": [5060]}},
        {"rule": {"expr": [{"match": {"right": {"set": ["10.0.0.1"]}}}]}}]}"#;
    for content in [NFT, json] {
        let (entries, problems) = read(&nft(), content);
        let expected = [
            "192.0.2.10/31",
            "192.0.2.12/30",
            "192.0.2.16/30",
            "192.0.2.20",
            "198.51.100.0/28",
            "203.0.113.7 # x, } 192.0.2.201",
        ];
        assert_eq!(entries, expected, "{content}");
        assert!(problems.is_empty());
    }
    let by_field =
        "table ip6 t {\n\tset s {\n\t\ttypeof ip6 saddr\n\t\telements = { 2001:db8::1, 2001:db8:1::/48 }\n\t}\n}\n";
    assert_eq!(read(&nft(), by_field).0, ["2001:db8::1", "2001:db8:1::/48"]);
    let empty = "table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t}\n}\n";
    assert!(read(&nft(), empty).0.is_empty());
    let wide = "table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 0.0.0.0-255.255.255.255, 192.0.2.9-192.0.2.1, 192.0.2.1 }\n\t}\n}\n";
    assert_eq!(read(&nft(), wide), (vec!["192.0.2.1".to_owned()], vec![4, 4]));
}

const CROWDSEC: &str = "id,source,ip,reason,action,country,as,events_count,expiration,simulated,alert_id\n\
    15,crowdsec,Ip:203.0.113.7,crowdsecurity/asterisk_bf,ban,US,\"64496 EXAMPLE, Inc\",6,3h59m51.25s,false,12\n\
    16,cscli,Range:198.51.100.0/28,manual,ban,,,0,23h,false,13\n17,cscli,Ip:192.0.2.1,manual,captcha,,,0,23h,false,13\n\
    18,cscli,Country:FR,manual,ban,,,0,23h,false,13\n19,cscli,Ip:192.0.2.2,manual,ban,,,0,23h,true,13\n\
    20,cscli,Ip:192.0.2.3,manual,ban,,,0,-5m3s,false,13\n21,cscli,Ip:192.0.2.4,manual,(simul)ban,,,0,1h,true,13\n";

#[test]
fn only_bans_of_addresses_are_imported_from_crowdsec() {
    let json = r#"[{"id": 12, "decisions": [
        {"id": 15, "scope": "Ip", "value": "203.0.113.7", "type": "ban", "duration": "3h59m51.25s", "simulated": false,
         "scenario": "crowdsecurity/asterisk_bf"},
        {"id": 17, "scope": "Ip", "value": "192.0.2.1", "type": "captcha", "duration": "23h", "scenario": "manual"},
        {"id": 18, "scope": "Country", "value": "FR", "type": "ban", "duration": "23h", "scenario": "manual"}]},
        {"id": 13, "decisions": [
        {"id": 16, "scope": "range", "value": "198.51.100.0/28", "type": "ban", "duration": "23h", "scenario": "manual"},
        {"id": 19, "scope": "Ip", "value": "192.0.2.2", "type": "ban", "duration": "23h", "simulated": true},
        {"id": 20, "scope": "Ip", "value": "192.0.2.3", "type": "ban", "duration": "-5m3s"}]}]"#;
    for (content, left_out) in [(CROWDSEC, 5), (json, 4)] {
        let (entries, problems) = read(&Format::Crowdsec, content);
        assert_eq!(entries, ["198.51.100.0/28 # manual", "203.0.113.7 # crowdsecurity/asterisk_bf"], "{content}");
        assert!(problems.is_empty());
        let imported = import(&Format::Crowdsec, content.as_bytes(), 0).expect("it is a list");
        assert_eq!(imported.notes.count, left_out);
        let reasons: Vec<&str> = imported.notes.listed.iter().map(|note| note.reason.as_str()).collect();
        for says in ["`captcha`, no ban", "`Country`, no address", "simulated", "has ended"] {
            assert!(reasons.iter().any(|reason| reason.contains(says)), "{says}: {reasons:?}");
        }
    }
    for empty in ["null\n", "[]\n", CROWDSEC.lines().next().expect("it has a header")] {
        assert!(read(&Format::Crowdsec, empty).0.is_empty());
    }
    let header = CROWDSEC.lines().next().expect("it has a header");
    let broken = format!(
        "{header}\n1,a,Ip:192.0.2.1,m,ban,,,0,soon,false,1\n2,a,192.0.2.2,m,ban,,,0,1h,false,1\n3,a,Ip:192.0.2.3\n"
    );
    let imported = import(&Format::Crowdsec, broken.as_bytes(), 100);
    assert!(imported.is_err_and(|error| error.to_string().contains("`soon` is not a duration")));
    let (message, _) = refused(&Format::Crowdsec, b"[{\"decisions\": [{\"value\": \"192.0.2.1\"");
    assert!(message.contains("middle of its JSON"), "{message}");
}

#[test]
fn numbers_in_csv_may_have_line_breaks_in_other_columns() {
    let content =
        "Phone,Note,Votes\r\n2025550101,\"said \"\"hello\"\",\r\nthen 3035550102\",1\r\n\"2025550103\",x,2\r\n";
    assert_eq!(read(&numbers(), content).0, ["+12025550101$", "+12025550103$"]);
    let (entries, problems) = read(&numbers(), "number|note\n2025550101|\"x\n2025550103|y\n");
    assert_eq!((entries.as_slice(), problems.as_slice()), (&["+12025550103$".to_owned()][..], &[2][..]));
}

#[test]
fn what_a_spreadsheet_makes_of_numbers_is_left_out_and_never_another_number() {
    let content = "Phone;Note\n=\"12025550101\";x\n1,2025550102E+10;x\n2.02E+09;x\n2025550103.0;x\n2025550105;x\n";
    assert_eq!(read(&numbers(), content), (vec!["+12025550105$".to_owned()], vec![2, 3, 4, 5]));
    // A score with a decimal comma is none, either.
    let content = "Number;Score;Votes\n2025550101;9;12\n3035550110;7,5;3\n";
    assert_eq!(read(&scores(), content), (vec!["+12025550101$,9".to_owned()], vec![3]));
}

#[test]
fn entries_that_become_prefixes_are_said() {
    let imported = import(&numbers(), b"2025550101\n303\n+4420\n202555XXXX\n605562\n", 0).expect("they can be read");
    let notes: Vec<(u32, &str)> = imported.notes.listed.iter().map(|note| (note.line, note.reason.as_str())).collect();
    let expected = [(2, "+1303"), (3, "+4420"), (5, "+1605562")];
    assert_eq!(notes.len(), expected.len(), "{notes:?}");
    for ((line, reason), (expected, prefix)) in notes.into_iter().zip(expected) {
        assert!(line == expected && reason.ends_with(&format!("begins with {prefix}")), "{line}: {reason}");
    }
    let german = Format::Numbers(NumberOptions {
        country_code: "49".to_owned(),
        national_prefix: "0".to_owned(),
        ..NumberOptions::default()
    });
    let (message, _) = refused(&german, b"030\n");
    assert!(message.contains("`030*`"), "{message}");
    let (message, _) = refused(&numbers(), b"5550199\n");
    assert!(message.contains("7 digits: a North American number has ten"), "{message}");
}

#[test]
fn numbers_that_few_complain_about_can_be_left_out() {
    let format = |min_count, count_column: Option<&str>| {
        let count_column = count_column.map(ToOwned::to_owned);
        Format::Numbers(NumberOptions { min_count, count_column, ..NumberOptions::default() })
    };
    let rows = "phone,subject\n2025550101,a\n202-555-0101,b\n3035550110,c\n+12025550101,d\n3035550110,\n5125550111,e\n";
    for (least, expected) in [
        (1, &["+12025550101$", "+13035550110$", "+15125550111$"][..]),
        (2, &["+12025550101$", "+13035550110$"]),
        (3, &["+12025550101$"]),
    ] {
        assert_eq!(read(&format(least, None), rows).0, expected, "{least}");
    }
    let imported = import(&format(2, None), rows.as_bytes(), 0).expect("two are frequent");
    assert_eq!((imported.rare, imported.duplicates), (1, 3));
    let (message, help) = refused(&format(4, None), rows.as_bytes());
    assert!(message.contains("none of the 3 numbers") && help.contains("fewer"), "{message}");
    // A column may say how many complaints a row stands for.
    let counted =
        "phone,votes,expires\n2025550101,7,2027-01-01\n2025550101,3,2027-02-01\n3035550110,9,\n5125550111,x,\n";
    assert_eq!(read(&format(10, None), counted), (vec!["+12025550101$,2027-02-01".to_owned()], vec![5]));
    let named = counted.replace("votes", "Times reported");
    assert_eq!(read(&format(10, Some("times reported")), &named).0, ["+12025550101$,2027-02-01"]);
    let (message, help) = refused(&format(2, Some("x")), counted.as_bytes());
    assert!(message.contains("no column of counts") && help.contains("--count-column"), "{message}");
    // The highest score of a number is kept.
    let options = NumberOptions { min_count: 2, ..NumberOptions::default() };
    let scored = Format::Scores(options, ScoreOptions::default());
    assert_eq!(read(&scored, "phone,score\n2025550101,20\n2025550101,80\n3035550110,90\n").0, ["+12025550101$,80"]);
}

proptest! {
    #[test]
    fn what_is_left_of_a_network_is_all_but_its_exceptions(
        listed in proptest::collection::vec((any::<u8>(), 1..=8_u8), 1..8),
        excepted in proptest::collection::vec((any::<u8>(), 1..=8_u8), 0..4),
    ) {
        let network = |(address, length): (u8, u8)| (address & (0xff_u16 << (8 - length)) as u8, length);
        let holds = |(network, length): (u8, u8), address: u8| u16::from(network ^ address) >> (8 - length) == 0;
        let (listed, excepted): (Vec<_>, Vec<_>) = (
            listed.into_iter().map(network).collect(),
            excepted.into_iter().map(network).filter(|network| *network != (0, 0)).collect(),
        );
        let mut content = "create s hash:net\n".to_owned();
        for (networks, option) in [(&listed, ""), (&excepted, " nomatch")] {
            for (address, length) in networks {
                content += &format!("add s 192.0.2.{address}/{}{option}\n", 24 + length);
            }
        }
        let imported = import(&ipset(), content.as_bytes(), 0);
        let text = imported.as_ref().map(|imported| imported.content.clone()).unwrap_or_default();
        let entries: Vec<ipnet::Ipv4Net> = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            line.parse().unwrap_or_else(|_| ipnet::Ipv4Net::new_assert(line.parse().expect("an address"), 32))
        }).collect();
        for address in 0..=255_u8 {
            let longest = |networks: &[(u8, u8)]| {
                networks.iter().filter(|network| holds(**network, address)).map(|(_, length)| *length).max()
            };
            // The set holds what its most specific entry says; of two alike, the one in the set.
            let expected = longest(&listed).is_some_and(|length| longest(&excepted).is_none_or(|other| other <= length));
            let address = std::net::Ipv4Addr::new(192, 0, 2, address);
            prop_assert_eq!(entries.iter().any(|entry| entry.contains(&address)), expected, "{}", address);
        }
    }

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
        for (format, content) in [(cidr(), &text), (numbers(), &column), (scores(), &column)] {
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
            Just("State\tNPA-NXX\tOCN\tUse\n"), Just("Status for the jail: a\nIP list:"), Just("create a hash:net\nadd a 192.0.2.0/"), Just("Name: a\nType: hash:ip\nMembers:\n"),
            Just("table ip t {\nset s {\ntype ipv4_addr\nelements = {"), Just("id,source,ip,reason,action,expiration\n"), Just("a|"),
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
                    Format::Nanpa => crate::lists::ranges(&name, bytes, usize::MAX, &mut diagnostics).len(),
                    Format::Numbers(_) | Format::Scores(..) => {
                        crate::lists::numbers(&name, bytes, &form, (0, 0, 0), usize::MAX, &mut diagnostics).entries.len()
                    }
                    Format::Apiban | Format::Cidr(_) | Format::Crowdsec | Format::Fail2ban | Format::Ipset(_) | Format::Nft(_) | Format::SpamhausDrop => crate::lists::addresses(&name, bytes, usize::MAX, &mut diagnostics).len(),
                };
                prop_assert!(diagnostics.is_empty(), "{}\n{}", imported.content, diagnostics);
                prop_assert_eq!(entries as u64, imported.entries);
            }
        }
    }
}
