//! What the screen shows, in words, and what its keys do.

use std::{
    fs::File,
    io::Read as _,
    os::fd::{AsFd as _, FromRawFd as _, OwnedFd},
    process::Command,
    ptr,
};

use jiff::Timestamp;
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    style::Color,
};
use serde_json::json;

use super::{
    Screen,
    draw::draw,
    is_unicode,
    state::{Effect, Input, State},
    text::Look,
    view::View,
};
use crate::{
    api::TopRequest,
    telemetry::{Estimate, Fate, Series, Status, Top, TopBy, TopRow, TopSort},
};

const PLAIN: Look = Look { colour: false, unicode: true };

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn status() -> Status {
    serde_json::from_value(json!({
        "daemon": "running", "pid": 7, "version": "0.1.0", "edge": "fra1-sbc2", "pin_dir": "/sys/fs/bpf/ringfence",
        "filter": "attached", "interfaces": [{ "interface": "eth0", "mode": "native", "attached": true }],
        "policy": "/etc/policy", "policy_hash": "0123", "commit": "fedcba9876543210", "generation": 12,
        "loaded": "2023-11-14T20:13:20Z", "verified_instructions": 1, "policy_errors": 0, "policy_error": null,
        "rules": [], "reasons": {}, "passed": 1_000, "dropped": 40_000, "events_lost": 0, "events_suppressed": 31,
        "outputs": [{ "output": "stdout", "lost": 0 }, { "output": "hep", "lost": 0 }], "bans": 2
    }))
    .unwrap()
}

fn row(key: Option<&str>, [passed, would, dropped]: [f64; 3], margin: f64) -> TopRow {
    let packets = passed + would + dropped;
    let series = |of: f64| (0..60).map(|second| of * f64::from(second / 10) / 150.0).collect();
    TopRow {
        key: key.map(str::to_owned),
        packets: Estimate { packets, low: packets - margin, high: packets + margin },
        passed,
        would,
        dropped,
        series: Some(Series { passed: series(passed), would: series(would), dropped: series(dropped) }),
    }
}

fn top(by: TopBy, rows: Vec<TopRow>) -> Top {
    let packets = Estimate { packets: 40_300.0, low: 38_000.0, high: 42_600.0 };
    let series = row(None, [900.0, 300.0, 39_000.0], 0.0).series;
    Top {
        by,
        window_seconds: 60.0,
        covered_seconds: 60.0,
        samples: 4_031,
        sampling_off: false,
        lost: 0,
        packets,
        rows,
        more: 0,
        series,
    }
}

/// Rows of every view.
fn rows(by: TopBy) -> Vec<TopRow> {
    let keys = match by {
        TopBy::Agent => ["friendly-scanner", "a\u{1b}[2Jb"],
        TopBy::Called | TopBy::Calling => ["12125550142", "13125550100"],
        TopBy::Method => ["REGISTER", "INVITE"],
        TopBy::Prefix => ["192.0.2.0/24", "2001:db8:1234:5678::/64"],
        TopBy::Reason => ["rule-drop", "default-pass"],
        TopBy::Rule => ["scanners", "dear"],
        TopBy::Set => ["trunks", "customers"],
        TopBy::Source => ["192.0.2.66", "2001:db8:1234:5678:9abc:def0:1234:5678"],
        TopBy::Upstream => ["carrier-one", "carrier-two"],
    };
    vec![
        row(Some(keys[0]), [0.0, 0.0, 39_000.0], 2_300.0),
        row(Some(keys[1]), [600.0, 300.0, 0.0], 0.0),
        row(None, [400.0, 0.0, 0.0], 0.0),
    ]
}

fn state(view: View) -> State {
    State::new(view, TopRequest::default())
}

/// The daemon answers what is asked.
fn answer(state: &mut State, status: Status, second: i64) {
    let request = state.request();
    let rows = state.view.by().map_or_else(Vec::new, rows);
    let top = top(request.by.unwrap(), rows);
    let answer = Input::Answer(Box::new(request), Ok(Box::new((status, top))));
    assert_eq!(state.update(answer, time(second)), Effect::Nothing);
}

/// A view after two answers.
fn shown(view: View) -> State {
    let mut state = state(view);
    answer(&mut state, status(), 0);
    answer(&mut state, Status { passed: 1_020, dropped: 41_300, ..status() }, 2);
    state
}

fn press(state: &mut State, code: KeyCode) -> Effect {
    state.update(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)), time(10))
}

fn types(state: &mut State, text: &str) {
    for letter in text.chars() {
        press(state, KeyCode::Char(letter));
    }
}

fn drawn(state: &State, look: Look, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, look, frame)).unwrap();
    terminal
}

/// The lines of the screen, without the spaces at their ends.
fn lines(state: &State, look: Look, width: u16, height: u16) -> Vec<String> {
    let terminal = drawn(state, look, width, height);
    let buffer = terminal.backend().buffer();
    let line = |y| {
        let mut line = String::new();
        let mut x = 0;
        while x < width {
            let symbol = buffer[(x, y)].symbol();
            line += symbol;
            // A wide character takes the next cell, too.
            x += u16::try_from(super::text::width(symbol).max(1)).unwrap();
        }
        line.trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

fn screen(state: &State) -> String {
    lines(state, PLAIN, 80, 24).join("\n")
}

/// The line that begins with this.
fn line<'a>(screen: &'a str, begin: &str) -> &'a str {
    screen.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("no line {begin:?} in\n{screen}"))
}

#[test]
fn a_view_of_rows_fits_80_columns_and_24_lines() {
    let expected = "\
ringfence top  fra1-sbc2  22:13:22 UTC
passed 10/s  dropped 650/s
[1 rules] 2 sources  3 called  4 calling  5 agents  6 upstreams  7 health
 8 prefixes  9 methods  0 reasons  - sets
rules, last 1m, by packets
40300 (38000 to 42600) packets in 1m, 4031 sampled
  rule               packets (low-high)      passed would drop dropped last 1m
> scanners             39.0k (36.7k-41.3k)        0          0   39.0k  ▁▂▄▄▅▇██
  dear                   900                    600        300       0  ▁▂▄▄▅▇██
  -                      400                    400          0       0  ▁▂▄▄▅▇██












1 of 3: scanners, 39000 (36700 to 41300) packets
q leave  Space pause  Enter narrow  s sort  f fate  t time  / find  ? help";
    assert_eq!(screen(&shown(View::Rows(TopBy::Rule))), expected);
}

#[test]
fn health_is_seen_at_once() {
    let expected = "\
ringfence top  fra1-sbc2  22:13:22 UTC
passed 10/s  dropped 650/s
 1 rules  2 sources  3 called  4 calling  5 agents  6 upstreams [7 health]
 8 prefixes  9 methods  0 reasons  - sets
health, the last 1m

   packets       per sec    in all  last 1m
   passed             10      1020         ▂▂▂▂▂▂▂▃▄▄▄▄▄▄▄▅▅▅▅▅▅▅▆▇▇▇▇▇▇▇███████
   would drop       ~5.0         -         ▂▂▂▂▂▂▂▃▄▄▄▄▄▄▄▅▅▅▅▅▅▅▆▇▇▇▇▇▇▇███████
   dropped           650     41.3k         ▂▂▂▂▂▂▂▃▄▄▄▄▄▄▄▅▅▅▅▅▅▅▆▇▇▇▇▇▇▇███████

   interfaces   eth0 filtered (native mode)
   mode         enforcing
   policy       generation 12, commit fedcba987654, in force for 2h2s
   events       0 lost, 31 suppressed by their rule's limit
   outputs      stdout 0 lost, hep 0 lost
   bans         2 in force






q leave  Space pause  t time  Tab view  ? help";
    assert_eq!(screen(&shown(View::Health)), expected);
}

#[test]
fn what_is_wrong_is_in_every_view_and_has_a_mark_of_its_own_in_health() {
    let mut state = shown(View::Rows(TopBy::Source));
    let bad = serde_json::json!({
        "unfiltered": ["eth1"], "report": true, "policy_error": "2 errors in policy.toml, and a reason that is so long that it takes a second line",
        "held": { "generation": 11, "since": "2023-11-14T20:00:00Z", "by": "user 0", "newest": null },
        "source": {
            "url": "ssh://git@git.example.net/policy.git", "reference": "branch main", "path": null,
            "commit": "0123456789abcdef", "committed": null, "fetched": "2023-11-14T20:00:00Z", "age": 75,
            "error": "no route to host", "failing_since": "2023-11-14T20:10:00Z"
        },
        "events_lost": 5, "passed": 1_030, "would_drop": 100, "dropped": 41_950, "outputs": [{ "output": "hep", "lost": 12 }]
    });
    let mut all = serde_json::to_value(status()).unwrap();
    bad.as_object().unwrap().iter().for_each(|(key, value)| all[key] = value.clone());
    answer(&mut state, serde_json::from_value(all.clone()).unwrap(), 3);
    assert_eq!(
        line(&screen(&state), "passed"),
        "passed 10/s (would drop 100/s)  dropped 650/s  !! NOT FILTERED: eth1 (7: 6 more)"
    );
    press(&mut state, KeyCode::Char('7'));
    let screen = screen(&state);
    let marked: Vec<&str> = screen.lines().filter(|line| line.starts_with("!!")).collect();
    assert_eq!(
        marked,
        [
            "!! interfaces   eth0 filtered (native mode), eth1 NOT FILTERED",
            "!! mode         REPORT MODE: nothing is dropped",
            "!!              the newest cannot be used: 2 errors in policy.toml, and a reason",
            "!!              generation 11 is HELD since 2023-11-14T20:00:00Z by user 0",
            "!!              failing since 2023-11-14T20:10:00Z: no route to host",
            "!! events       5 lost, 31 suppressed by their rule's limit",
            "!! outputs      hep 12 lost",
        ]
    );
    assert!(screen.contains("\n                that is so long that it takes a second line\n"), "{screen}");
    assert!(screen.contains("\n   source       newest commit 0123456789ab, looked 1m15s ago\n"), "{screen}");
    assert!(
        line(&screen, "   would drop").contains("       100  "),
        "with the policy in report mode it is counted: {screen}"
    );

    all["filter"] = json!("not attached");
    answer(&mut state, serde_json::from_value(all).unwrap(), 4);
    assert!(lines(&state, PLAIN, 80, 24)[1].contains("!! NOTHING IS FILTERED (7: 6 more)"));
}

#[test]
fn every_view_shows_its_rows_and_escapes_what_senders_chose() {
    for (key, name, view) in View::ALL {
        let mut state = state(View::Rows(TopBy::Rule));
        if view.by() != Some(TopBy::Rule) {
            assert_eq!(press(&mut state, KeyCode::Char(key)), Effect::Ask, "{name}");
        }
        assert_eq!(state.view, view);
        assert!(view == View::Health || screen(&state).contains("\nasking ...\n"), "no rows before they are there");
        answer(&mut state, status(), 0);
        let screen = screen(&state);
        assert!(screen.contains(&format!("[{key} {name}]")), "{screen}");
        let Some(by) = view.by() else { continue };
        assert_eq!(state.request().by, Some(by));
        for row in rows(by) {
            let shown = match row.key.as_deref() {
                Some("a\u{1b}[2Jb") => "  a\\u{1b}[2Jb",
                // The column has no room for the whole of it.
                Some("2001:db8:1234:5678:9abc:def0:1234:5678" | "2001:db8:1234:5678::/64") => "  2001:db8:1234:567…",
                key => &format!("  {}", key.unwrap_or("-")),
            };
            assert!(screen.replace("\n> ", "\n  ").contains(&format!("\n{shown}")), "{shown} in\n{screen}");
        }
    }
}

#[test]
fn tabs_go_round_in_both_directions() {
    let mut state = shown(View::Rows(TopBy::Rule));
    for (_, _, view) in View::ALL {
        assert_eq!(state.view, view);
        press(&mut state, KeyCode::Tab);
    }
    assert_eq!(state.view, View::Rows(TopBy::Rule));
    press(&mut state, KeyCode::Left);
    assert_eq!(state.view, View::Rows(TopBy::Set));
}

#[test]
fn a_terminal_of_any_size_is_drawn_and_one_that_is_too_small_says_so() {
    for view in View::ALL.map(|(_, _, view)| view) {
        let mut state = shown(view);
        for is_help in [false, true] {
            state.is_help = is_help;
            for (width, height) in [(1, 1), (3, 40), (59, 15), (60, 14), (60, 15), (79, 24), (81, 25), (300, 100)] {
                let is_small = width < 60 || height < 15;
                let lines = lines(&state, PLAIN, width, height);
                let says = lines[0].starts_with(&format!("{width}x{height} is too small")[..width.min(10).into()]);
                assert_eq!(is_small, says, "{width}x{height}: {lines:?}");
            }
        }
    }
    let lines = lines(&shown(View::Rows(TopBy::Rule)), PLAIN, 60, 15);
    let row = lines.iter().find(|line| line.starts_with("> ")).unwrap();
    assert_eq!(
        row, "> scanners         ~39.0k      0          0   39.0k  ▂▃▄▅▆▇█",
        "an estimate whose bounds have no room has a mark"
    );
}

#[test]
fn without_colours_there_are_none_and_with_them_nothing_else_changes() {
    for view in [View::Health, View::Rows(TopBy::Rule)] {
        let state = shown(view);
        let [plain, coloured] = [PLAIN, Look { colour: true, unicode: true }]
            .map(|look| drawn(&state, look, 80, 24).backend().buffer().clone());
        assert!(plain.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
        assert!(coloured.content().iter().any(|cell| cell.fg == Color::Red));
        let symbols = |buffer: &ratatui::buffer::Buffer| -> String {
            buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect()
        };
        assert_eq!(symbols(&plain), symbols(&coloured));
        let ascii = drawn(&state, Look { colour: false, unicode: false }, 80, 24);
        assert!(symbols(ascii.backend().buffer()).is_ascii());
    }
    let of = |pairs: &'static [(&str, &str)]| {
        is_unicode(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    };
    assert!(of(&[("LANG", "de_DE.UTF-8")]) && of(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]));
    assert!(!of(&[]) && !of(&[("LANG", "C.UTF-8"), ("LC_ALL", "POSIX")]));
}

#[test]
fn a_row_opens_what_is_inside_it_and_backspace_goes_back() {
    let mut state = shown(View::Rows(TopBy::Rule));
    press(&mut state, KeyCode::Down);
    assert_eq!(press(&mut state, KeyCode::Enter), Effect::Ask);
    let request = state.request();
    assert_eq!((request.by, request.rule.as_deref()), (Some(TopBy::Source), Some("dear")));
    answer(&mut state, status(), 4);
    assert!(screen(&state).contains("\nsources, last 1m, by packets, rule dear\n"));
    press(&mut state, KeyCode::Enter);
    let request = state.request();
    assert_eq!((request.by, request.rule.as_deref()), (Some(TopBy::Called), Some("dear")));
    assert_eq!(request.source.as_deref(), Some("192.0.2.66"));
    // Another view is about the same packets; another window stays on the way back.
    types(&mut state, "9t");
    answer(&mut state, status(), 5);
    assert!(
        screen(&state).contains("\nmethods, last 10m, by packets, rule dear, source 192.0.2.66\n"),
        "{}",
        screen(&state)
    );
    assert_eq!(press(&mut state, KeyCode::Backspace), Effect::Ask);
    assert_eq!((state.view, state.request().source), (View::Rows(TopBy::Source), None));
    press(&mut state, KeyCode::Esc);
    assert_eq!((state.view, state.request().rule, state.seconds()), (View::Rows(TopBy::Rule), None, 600));
    answer(&mut state, status(), 6);
    assert_eq!(state.index(), 1, "the row that was opened is chosen again");
    assert_eq!(press(&mut state, KeyCode::Backspace), Effect::Nothing, "there is nothing to go back to");
    // Packets that have none of it.
    press(&mut state, KeyCode::End);
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.request().rule.as_deref(), Some(""));
    assert!(screen(&state).contains(", by packets, no rule\n"));
    press(&mut state, KeyCode::Char('7'));
    let request = state.request();
    assert_eq!((request.rule, request.rows), (None, Some(0)), "health is about everything");
    assert_eq!(press(&mut state, KeyCode::Enter), Effect::Nothing);
}

#[test]
fn the_row_that_was_chosen_stays_chosen_where_it_goes() {
    let mut state = shown(View::Rows(TopBy::Source));
    let answered = |state: &mut State, rows: Vec<TopRow>| {
        let request = state.request();
        let answer = Box::new((status(), top(TopBy::Source, rows)));
        state.update(Input::Answer(Box::new(request), Ok(answer)), time(3));
    };
    let source = |index: usize| row(Some(&format!("192.0.2.{index}")), [1.0, 0.0, 0.0], 0.0);
    answered(&mut state, (0..100).map(source).collect());
    assert_eq!(state.index(), 0);
    press(&mut state, KeyCode::PageDown);
    types(&mut state, "jjk");
    assert_eq!(state.index(), 11);
    answered(&mut state, (0..100).rev().map(source).collect());
    assert_eq!(state.index(), 88);
    let shown = screen(&state);
    assert!(
        line(&shown, "> 192.0.2.11 ").contains('1') && shown.contains("\n89 of 100: 192.0.2.11, 1 packets\n"),
        "{shown}"
    );
    press(&mut state, KeyCode::Home);
    answered(&mut state, (0..100).map(source).collect());
    assert_eq!(state.index(), 0, "at the top it is the heaviest");
    press(&mut state, KeyCode::End);
    assert_eq!(state.index(), 99);
    answered(&mut state, Vec::new());
    assert_eq!((state.index(), press(&mut state, KeyCode::Enter)), (0, Effect::Nothing));
    assert!(screen(&state).contains("\nno packets\n"));
}

#[test]
fn a_filter_is_typed_kept_and_cleared() {
    let mut state = shown(View::Rows(TopBy::Agent));
    types(&mut state, "/");
    // Letters that would be keys elsewhere.
    types(&mut state, "sqp x");
    assert!(state.is_typing && state.paused.is_none());
    assert_eq!(press(&mut state, KeyCode::Backspace), Effect::Ask, "each letter asks again");
    assert_eq!(state.request().contains.as_deref(), Some("sqp "));
    assert!(screen(&state).ends_with("\n/sqp _  Enter: keep  Esc: clear"), "{}", screen(&state));
    assert!(screen(&state).contains("> friendly-scanner"), "the rows stay until others come");
    press(&mut state, KeyCode::Enter);
    assert!(!state.is_typing && screen(&state).contains(", with \"sqp \"\n"));
    assert_eq!(press(&mut state, KeyCode::Esc), Effect::Ask);
    assert_eq!(state.request().contains, None);
    types(&mut state, "/ab");
    assert_eq!(press(&mut state, KeyCode::Esc), Effect::Ask);
    assert_eq!((state.is_typing, state.request().contains.clone()), (false, None));
    types(&mut state, "/ab");
    press(&mut state, KeyCode::Enter);
    types(&mut state, "2");
    assert_eq!(state.request().contains, None, "another view has other texts");
}

#[test]
fn keys_sort_and_choose_and_change_the_window() {
    let mut state = shown(View::Rows(TopBy::Source));
    let mut sorts = Vec::new();
    let mut fates = Vec::new();
    let mut windows = Vec::new();
    for _ in 0..4 {
        types(&mut state, "sft");
        sorts.push(state.request().sort.unwrap());
        fates.push(state.request().fate);
        windows.push(state.request().seconds.unwrap());
    }
    assert_eq!(sorts, [TopSort::Dropped, TopSort::Would, TopSort::Passed, TopSort::Packets]);
    assert_eq!(fates, [Some(Fate::Dropped), Some(Fate::Would), Some(Fate::Passed), None]);
    assert_eq!(windows, [600, 10, 60, 600]);
    types(&mut state, "sfu");
    answer(&mut state, status(), 3);
    let screen = screen(&state);
    assert!(screen.contains("\nsources, last 10m, by dropped, only dropped\n"), "{screen}");
    assert!(line(&screen, "> 192.0.2.66").contains("     650 (612-688)            0          0     650 "), "{screen}");
}

#[test]
fn a_pause_lets_everything_stay_and_says_since_when() {
    let mut state = shown(View::Rows(TopBy::Rule));
    assert_eq!(state.update(Input::Tick, time(3)), Effect::Ask);
    types(&mut state, "p");
    assert_eq!(state.update(Input::Tick, time(11)), Effect::Nothing);
    assert!(lines(&state, PLAIN, 80, 24)[0].ends_with(" PAUSED since 22:13:30"), "{}", screen(&state));
    // What is asked for is answered, also in a pause.
    assert_eq!(press(&mut state, KeyCode::Char('2')), Effect::Ask);
    answer(&mut state, status(), 20);
    assert!(lines(&state, PLAIN, 80, 24)[0].ends_with(" PAUSED since 22:13:40"));
    assert_eq!(press(&mut state, KeyCode::Char(' ')), Effect::Ask);
    assert!(!screen(&state).contains("PAUSED"));
}

#[test]
fn a_daemon_that_is_gone_is_said_and_asked_again() {
    let mut state = shown(View::Rows(TopBy::Rule));
    for second in [5, 6] {
        let why = "no daemon answers at /run/ringfence/ringfence.sock".to_owned();
        let request = Box::new(state.request());
        state.update(Input::Answer(request, Err(why)), time(second));
    }
    let lines = lines(&state, PLAIN, 80, 24);
    assert!(lines[0].ends_with("22:13:22 UTC                  NO ANSWER since 22:13:25"), "{}", lines[0]);
    assert!(
        lines[1].starts_with("!! no daemon answers at /run/ringfence/ringfence.sock; trying again every"),
        "{}",
        lines[1]
    );
    assert!(screen(&state).contains("> scanners"), "what was known stays");
    assert_eq!(state.update(Input::Tick, time(7)), Effect::Ask);
    answer(&mut state, status(), 8);
    assert_eq!(state.rates, None, "nothing is known of the time between");
    answer(&mut state, status(), 9);
    assert!(state.rates.is_some() && !screen(&state).contains("NO ANSWER"));
}

#[test]
fn an_answer_to_an_earlier_question_is_not_shown() {
    let mut state = shown(View::Rows(TopBy::Rule));
    let request = Box::new(state.request());
    press(&mut state, KeyCode::Char('2'));
    state.update(Input::Answer(request, Ok(Box::new((status(), top(TopBy::Rule, rows(TopBy::Rule)))))), time(3));
    assert!(state.top.is_none());
}

#[test]
fn rates_are_of_a_second_or_more_and_never_below_nothing() {
    let mut state = shown(View::Health);
    let rate = |state: &State| state.rates.map(|rates| rates.passed);
    assert_eq!(rate(&state), Some(10.0));
    let soon = Timestamp::from_millisecond(time(2).as_millisecond() + 300).unwrap();
    let request = Box::new(state.request());
    let more = Status { passed: 1_500, dropped: 41_300, ..status() };
    state.update(Input::Answer(request, Ok(Box::new((more.clone(), top(TopBy::Reason, Vec::new()))))), soon);
    assert_eq!(rate(&state), Some(10.0), "a key has asked sooner");
    answer(&mut state, more, 4);
    assert_eq!(rate(&state), Some(240.0));
    // The filter was loaded again.
    answer(&mut state, Status { passed: 3, dropped: 0, ..status() }, 5);
    assert_eq!(rate(&state), None);
}

#[test]
fn the_screen_is_left_by_q_by_control_c_and_by_escape_where_there_is_nothing_to_leave_first() {
    let mut state = shown(View::Rows(TopBy::Rule));
    let control = |letter| Input::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL));
    assert_eq!(state.update(control('l'), time(3)), Effect::Redraw);
    assert_eq!(press(&mut state, KeyCode::Char('q')), Effect::End);
    types(&mut state, "?");
    assert!(screen(&state).contains("\n  q, Ctrl-C, Esc  leave\n"), "{}", screen(&state));
    assert_eq!(press(&mut state, KeyCode::Esc), Effect::Nothing);
    assert!(!state.is_help);
    types(&mut state, "/");
    assert_eq!(press(&mut state, KeyCode::Esc), Effect::Nothing);
    press(&mut state, KeyCode::Enter);
    assert_eq!(press(&mut state, KeyCode::Esc), Effect::Ask, "back from the row");
    types(&mut state, "/");
    assert_eq!(state.update(control('c'), time(3)), Effect::End, "also while a filter is typed");
    press(&mut state, KeyCode::Esc);
    assert_eq!(press(&mut state, KeyCode::Esc), Effect::End);
}

/// Set for the process that [`a_panic_leaves_the_terminal_as_it_was`] starts.
const PANICS: &str = "RINGFENCE_TEST_SCREEN_PANICS";

/// The other half of the test below: it does nothing by itself.
#[test]
fn a_screen_that_panics() {
    if std::env::var_os(PANICS).is_some() {
        let mut screen = Screen::open().unwrap();
        screen.0.draw(|frame| draw(&shown(View::Rows(TopBy::Rule)), PLAIN, frame)).unwrap();
        panic!("as it happens");
    }
}

/// A terminal: what a program on it writes can be read at the first end, and the second is what the program gets.
fn terminal() -> (File, OwnedFd) {
    let (mut first, mut second) = (-1, -1);
    let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the pointers are valid for the call, or null where that means nothing is asked for.
    let result =
        unsafe { libc::openpty(&raw mut first, &raw mut second, ptr::null_mut(), ptr::null(), &raw const size) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: they were just opened, and nothing else has them.
    unsafe { (File::from_raw_fd(first), OwnedFd::from_raw_fd(second)) }
}

#[test]
fn a_panic_leaves_the_terminal_as_it_was() {
    let (mut output, terminal) = terminal();
    let modes = || {
        let modes = rustix::termios::tcgetattr(terminal.as_fd()).unwrap();
        (modes.local_modes, modes.input_modes, modes.output_modes)
    };
    let before = modes();
    let stream = || terminal.try_clone().unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cli::top::screen::tests::a_screen_that_panics", "--nocapture"])
        .env(PANICS, "1")
        .env("RUST_BACKTRACE", "0")
        .stdin(stream())
        .stdout(stream())
        .stderr(stream())
        .status()
        .unwrap();
    assert!(!status.success());
    assert_eq!(modes(), before);
    drop(terminal);
    let mut text = Vec::new();
    // (The end of a terminal that nobody has is an error on Linux.)
    let _ = output.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let places = ["\x1b[?1049h", "\x1b[?1049l", "as it happens"].map(|part| text.find(part));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in {text:?}");
    assert!(text.contains("\x1b[?25h"), "the cursor is there again: {text:?}");
}
