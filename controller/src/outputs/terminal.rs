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
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Lines of a log, without tables.
    Log {
        /// Each line begins with its priority, as the journal reads it (sd-daemon(3)).
        priorities: bool,
        /// Only failures.
        quiet: bool,
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
    pub(super) fn redrawn(name: &'static str, to: W) -> Self {
        Self { name, to, form: Form::Redrawn { lines: 0, screen: (0, 0), last: None } }
    }

    /// Writes a log; `quiet` leaves only failures in it.
    pub(super) fn log(name: &'static str, to: W, priorities: bool, quiet: bool) -> Self {
        Self { name, to, form: Form::Log { priorities, quiet } }
    }

    fn notice(&mut self, notice: &Notice, screen: (usize, usize)) -> String {
        let text = notice.to_string();
        match &mut self.form {
            Form::Log { quiet: true, .. } if notice.failure().is_none() => String::new(),
            Form::Log { priorities, .. } => log_lines(&text, priorities.then(|| priority(notice))),
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
        };
        if text.is_empty() {
            return;
        }
        // A reader that goes away ends nothing: the filter matters more.
        let _ = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
    }
}

impl<W: Write + Send> Output for Terminal<W> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn interest(&self) -> Interest {
        Interest::Notices
    }

    fn write(&mut self, message: &Message) {
        self.write_on(message, size());
    }
}

/// The priority of a notice, from syslog(3).
fn priority(notice: &Notice) -> u8 {
    const ERROR: u8 = 3;
    const WARNING: u8 = 4;
    const NOTICE: u8 = 5;
    if notice.failure().is_some() {
        ERROR
    } else if matches!(notice, Notice::Gone(_) | Notice::Missed { .. } | Notice::PolicyWarning(_)) {
        WARNING
    } else {
        NOTICE
    }
}

/// The lines of a log, each with its priority.
fn log_lines(text: &str, priority: Option<u8>) -> String {
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
    use crate::telemetry::{Gone, Removed, RuleMode, RuleRow};

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
    fn a_log_has_no_tables_and_each_line_has_its_priority_where_the_journal_reads_it() {
        let mut output = Terminal::log("test", Vec::new(), false, false);
        assert_eq!(written(&mut output, &table(2)), "");
        assert_eq!(written(&mut output, &error()), "x\ny\n");
        let mut output = Terminal::log("test", Vec::new(), true, false);
        assert_eq!(written(&mut output, &error()), "<3>x\n<3>y\n");
        assert!(written(&mut output, &gone()).starts_with("<4>eth1: "));
        let missed = Notice::Removed(Removed { interface: "eth1".to_owned() }).into();
        assert!(written(&mut output, &missed).starts_with("<5>eth1 is no longer"));
    }

    #[test]
    fn a_quiet_log_has_failures_only() {
        let mut output = Terminal::log("test", Vec::new(), false, true);
        assert_eq!(written(&mut output, &gone()), "");
        assert_eq!(written(&mut output, &error()), "x\ny\n");
    }

    #[test]
    fn a_notice_is_put_above_the_redrawn_table() {
        let mut output = Terminal::redrawn("test", Vec::new());
        let drawn = written(&mut output, &table(1));
        let lines = drawn.lines().count();
        assert_eq!(written(&mut output, &table(1)), format!("\x1b[{lines}F\x1b[J{drawn}"));
        let notice = Notice::Error { message: "x".to_owned() }.into();
        assert_eq!(written(&mut output, &notice), format!("\x1b[{lines}F\x1b[Jx\n{drawn}"));
        assert_eq!(written(&mut output, &table(1)), format!("\x1b[{lines}F\x1b[J{drawn}"));
    }

    #[test]
    fn after_a_resize_the_table_is_drawn_on_a_clear_screen() {
        let mut output = Terminal::redrawn("test", Vec::new());
        let drawn = written(&mut output, &table(1));
        let narrow = written_on(&mut output, &table(1), (40, 10));
        assert!(narrow.starts_with(CLEAR_SCREEN), "{narrow:?}");
        assert!(narrow[CLEAR_SCREEN.len()..].lines().all(|line| line.chars().count() <= 40), "{narrow:?}");
        assert_eq!(written(&mut output, &table(1)), format!("{CLEAR_SCREEN}{drawn}"), "and back");
    }
}
