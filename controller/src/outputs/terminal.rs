//! Text for people: notices, and on a terminal the table, redrawn in place.

use std::{
    io::{self, Write},
    mem,
};

use super::Output;
use crate::telemetry::{Interest, Message, Notice, Table};

/// Writes notices as text, and the counters where the reader can see them change.
#[derive(Debug)]
pub(super) struct Terminal<W> {
    name: &'static str,
    to: W,
    /// Where failures go that are in a log.
    failures: W,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Lines of a log, without tables.
    Log {
        /// Only failures.
        quiet: bool,
        /// The last warnings about a policy, and the last policy that was found to be the one in force: saying the same again at each
        /// reload would be noise.
        said: [String; 2],
    },
    /// A table that is redrawn in place.
    Redrawn {
        /// Its lines above the cursor.
        lines: usize,
        /// The columns and lines of the screen on which they were drawn.
        screen: (usize, usize),
        last: Option<Table>,
    },
}

impl<W: Write> Terminal<W> {
    /// Redraws the table in place.
    pub(super) fn redrawn(name: &'static str, to: W, failures: W) -> Self {
        Self { name, to, failures, form: Form::Redrawn { lines: 0, screen: (0, 0), last: None } }
    }

    /// Writes a log; `quiet` leaves only failures in it.
    pub(super) fn log(name: &'static str, to: W, failures: W, quiet: bool) -> Self {
        Self { name, to, failures, form: Form::Log { quiet, said: <[String; 2]>::default() } }
    }

    fn notice(&mut self, notice: &Notice, screen: (usize, usize)) -> String {
        let text = notice.to_string();
        match &mut self.form {
            Form::Log { quiet, said } => {
                let is_left_out = *quiet && notice.failure().is_none() || is_repeated(notice, &text, said);
                if is_left_out { String::new() } else { log_lines(&text, None) }
            }
            Form::Redrawn { lines, last, .. } => {
                let cleared = clear(mem::take(lines));
                // The table was cleared away: draw it again below the notice.
                let table = last.take().map_or_else(String::new, |table| self.table(&table, screen));
                format!("{cleared}{text}\n{table}")
            }
        }
    }

    fn table(&mut self, table: &Table, now: (usize, usize)) -> String {
        let Form::Redrawn { lines, screen, last } = &mut self.form else { return String::new() };
        // The last line of the screen holds the cursor.
        let drawn = table.render(now.0, now.1.saturating_sub(1));
        // On a screen of another size, the terminal has wrapped or joined the lines: it is not known where they begin.
        let is_resized = *lines > 0 && *screen != now;
        let cleared = if is_resized { CLEAR_SCREEN.to_owned() } else { clear(*lines) };
        (*lines, *screen, *last) = (drawn.lines().count(), now, Some(table.clone()));
        cleared + &drawn
    }

    fn write_on(&mut self, message: &Message, screen: (usize, usize)) {
        let text = match message {
            Message::Notice(notice) => {
                if let Notice::Table(table) = notice.as_ref() {
                    self.table(table, screen)
                } else {
                    self.notice(notice, screen)
                }
            }
            Message::Packet(event) => event.line() + "\n",
            Message::Captured(_) => String::new(),
        };
        if text.is_empty() {
            return;
        }
        let is_failure = matches!(message, Message::Notice(notice) if notice.failure().is_some());
        // What stands above the table is part of the picture.
        let to = if is_failure && matches!(self.form, Form::Log { .. }) { &mut self.failures } else { &mut self.to };
        // A reader that goes away ends nothing: the filter matters more.
        let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    }
}

impl<W: Write + Send> Output for Terminal<W> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn interest(&self) -> Interest {
        Interest::NOTICES
    }

    fn write(&mut self, message: &Message) {
        self.write_on(message, size());
    }
}

/// Notes what a notice about a policy says. True if the last one of its kind said the same.
pub(super) fn is_repeated(notice: &Notice, text: &str, said: &mut [String; 2]) -> bool {
    let [warnings, unchanged] = said;
    let last = if matches!(notice, Notice::PolicyWarning(_)) {
        warnings
    } else if matches!(notice, Notice::Unchanged(_)) {
        unchanged
    } else {
        if matches!(notice, Notice::Reloaded(_) | Notice::RolledBack(_)) {
            unchanged.clear();
        }
        return false;
    };
    mem::replace(last, text.to_owned()) == text
}

/// The priority of a notice, from syslog(3).
pub(super) fn priority(notice: &Notice) -> u8 {
    const ERROR: u8 = 3;
    const WARNING: u8 = 4;
    const NOTICE: u8 = 5;
    if notice.failure().is_some() {
        ERROR
    } else if matches!(notice, Notice::Gone(_) | Notice::Missed(_) | Notice::PolicyWarning(_)) {
        WARNING
    } else {
        NOTICE
    }
}

/// The lines of a log, each with its priority.
pub(super) fn log_lines(text: &str, priority: Option<u8>) -> String {
    let prefix = priority.map_or_else(String::new, |priority| format!("<{priority}>"));
    text.lines().map(|line| format!("{prefix}{line}\n")).collect()
}

/// Erases the screen, and moves to its beginning (ECMA-48 ED and CUP).
const CLEAR_SCREEN: &str = "\x1b[2J\x1b[H";

/// Moves up `lines` lines and erases to the end of the screen (ECMA-48 CPL and ED).
fn clear(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}F\x1b[J") }
}

fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Gone, PolicyWarning, RuleMode, RuleRow, Unchanged};

    fn table(packets: u64) -> Message {
        Notice::Table(Table {
            seconds: 1.0,
            report: false,
            rules: vec![RuleRow {
                rule: "scanners".to_owned(),
                mode: RuleMode::Enforce,
                action: "drop".to_owned(),
                packets,
                bytes: 0,
                rate: None,
                spared: 0,
                reported: 0,
                reported_bytes: 0,
            }],
            reasons: [].into_iter().collect(),
            passed: 0,
            dropped: packets,
            would_drop: 0,
            events_lost: 0,
            events_suppressed: 0,
            bans: 0,
        })
        .into()
    }

    const SCREEN: (usize, usize) = (80, 24);

    fn written_on(output: &mut Terminal<Vec<u8>>, message: &Message, screen: (usize, usize)) -> String {
        output.write_on(message, screen);
        String::from_utf8(mem::take(&mut output.to)).unwrap()
    }

    fn written(output: &mut Terminal<Vec<u8>>, message: &Message) -> String {
        written_on(output, message, SCREEN)
    }

    fn error() -> Message {
        Notice::Error { message: "x\ny".to_owned() }.into()
    }

    fn gone() -> Message {
        Notice::Gone(Gone { interface: "eth1".to_owned() }).into()
    }

    #[test]
    fn a_log_has_no_tables_and_its_failures_are_apart() {
        let mut output = Terminal::log("test", Vec::new(), Vec::new(), false);
        assert_eq!(written(&mut output, &table(2)), "");
        assert!(written(&mut output, &gone()).starts_with("eth1: "));
        assert_eq!(written(&mut output, &error()), "");
        assert_eq!(output.failures, b"x\ny\n");
    }

    #[test]
    fn the_same_said_again_is_no_noise_in_a_log() {
        let mut output = Terminal::log("test", Vec::new(), Vec::new(), false);
        let warning = |report: &str| -> Message {
            let (message, diagnostics) = ("1 warning".to_owned(), Vec::new());
            Notice::PolicyWarning(PolicyWarning { message, diagnostics, report: report.to_owned() }).into()
        };
        let unchanged = |generation| -> Message {
            let (policy_hash, policy) = ("0123456789abcdef".to_owned(), "/etc/policy".to_owned());
            Notice::Unchanged(Unchanged { policy_hash, commit: None, generation, policy }).into()
        };
        for (message, is_written) in [
            (warning("a"), true),
            (unchanged(1), true),
            (warning("a"), false),
            (unchanged(1), false),
            (warning("b"), true),
            (unchanged(2), true),
            (warning("a"), true),
        ] {
            assert_eq!(!written(&mut output, &message).is_empty(), is_written, "{message:?}");
        }
    }

    #[test]
    fn a_quiet_log_has_failures_only() {
        let mut output = Terminal::log("test", Vec::new(), Vec::new(), true);
        assert_eq!(written(&mut output, &gone()) + &written(&mut output, &error()), "");
        assert_eq!(output.failures, b"x\ny\n");
    }

    #[test]
    fn a_notice_is_put_above_the_redrawn_table() {
        let mut output = Terminal::redrawn("test", Vec::new(), Vec::new());
        let drawn = written(&mut output, &table(1));
        let lines = drawn.lines().count();
        assert_eq!(written(&mut output, &table(1)), format!("\x1b[{lines}F\x1b[J{drawn}"));
        let notice = Notice::Error { message: "x".to_owned() }.into();
        assert_eq!(written(&mut output, &notice), format!("\x1b[{lines}F\x1b[Jx\n{drawn}"));
        assert_eq!(written(&mut output, &table(1)), format!("\x1b[{lines}F\x1b[J{drawn}"));
    }

    #[test]
    fn after_a_resize_the_table_is_drawn_on_a_clear_screen() {
        let mut output = Terminal::redrawn("test", Vec::new(), Vec::new());
        let drawn = written(&mut output, &table(1));
        let narrow = written_on(&mut output, &table(1), (40, 10));
        assert!(narrow.starts_with(CLEAR_SCREEN), "{narrow:?}");
        assert!(narrow[CLEAR_SCREEN.len()..].lines().all(|line| line.chars().count() <= 40), "{narrow:?}");
        assert_eq!(written(&mut output, &table(1)), format!("{CLEAR_SCREEN}{drawn}"), "and back");
    }
}
