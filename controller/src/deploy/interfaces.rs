//! What was last said about each interface: a change is reported once.

use std::collections::HashMap;

use crate::{
    kernel::{self, Kept},
    telemetry::{Gone, Notice, Reattached},
};

/// What was last said about the interfaces. One about which nothing was said has the filter on it.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    said: HashMap<String, Said>,
}

/// Why the filter is not on an interface.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Failed(String),
    Gone,
}

impl Interfaces {
    /// What there is to say about an interface now; nothing if that has been said.
    pub(super) fn note(&mut self, interface: &str, kept: Result<Kept, kernel::Error>) -> Option<Notice> {
        match kept {
            Ok(Kept::On) => {
                self.said.remove(interface);
                None
            }
            Ok(Kept::Again(attached)) => {
                self.said.remove(interface);
                let note = format!("it is filtered again; {}", attached.note.as_deref().unwrap_or("it is back"));
                Some(Notice::Reattached(Reattached { interface: attached.interface, mode: attached.mode, note }))
            }
            Ok(Kept::Gone) => self.first(interface, Said::Gone).then(|| gone(interface)),
            Err(error) => {
                let help = error.help().map_or_else(String::new, |help| format!("\nhelp: {help}"));
                let message = format!("nothing is filtered on {interface}: {error}{help}");
                self.first(interface, Said::Failed(message.clone())).then_some(Notice::Error { message })
            }
        }
    }

    /// Notes whether it is about something that has not been said.
    fn first(&mut self, interface: &str, what: Said) -> bool {
        if self.said.get(interface) == Some(&what) {
            return false;
        }
        self.said.insert(interface.to_owned(), what);
        true
    }

    /// The interfaces that did not exist when a policy came in force.
    pub(super) fn absent(&mut self, interfaces: &[String]) -> Vec<Notice> {
        self.said.retain(|_, said| *said == Said::Gone);
        self.said.retain(|name, _| interfaces.contains(name));
        interfaces.iter().filter(|name| self.first(name, Said::Gone)).map(|name| gone(name)).collect::<Vec<_>>()
    }
}

fn gone(interface: &str) -> Notice {
    Notice::Gone(Gone { interface: interface.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Attached, Mode};

    fn again() -> Result<Kept, kernel::Error> {
        let note = Some("the link was recreated: the interface has been recreated".to_owned());
        Ok(Kept::Again(Attached { interface: "eth1".to_owned(), mode: Mode::Native, created: true, note }))
    }

    fn event(notice: Option<Notice>) -> Option<&'static str> {
        notice.map(|notice| {
            if matches!(notice, Notice::Gone(_)) {
                "gone"
            } else if matches!(notice, Notice::Reattached(_)) {
                "reattached"
            } else {
                assert!(matches!(notice, Notice::Error { .. }), "{notice:?}");
                "error"
            }
        })
    }

    #[test]
    fn each_change_is_said_once() {
        let mut interfaces = Interfaces::default();
        assert_eq!(event(interfaces.note("eth1", Ok(Kept::On))), None);
        assert_eq!(event(interfaces.note("eth1", Ok(Kept::Gone))), Some("gone"));
        assert_eq!(event(interfaces.note("eth1", Ok(Kept::Gone))), None);
        assert_eq!(event(interfaces.note("eth2", Ok(Kept::Gone))), Some("gone"), "another one");
        assert_eq!(event(interfaces.note("eth1", again())), Some("reattached"));
        assert_eq!(event(interfaces.note("eth1", Ok(Kept::Gone))), Some("gone"));
        let failed = || Err(kernel::Error::UnknownInterface("x".to_owned()));
        assert_eq!(event(interfaces.note("eth1", failed())), Some("error"));
        assert_eq!(event(interfaces.note("eth1", failed())), None);
    }

    #[test]
    fn a_reload_does_not_repeat_that_an_interface_is_gone() {
        let mut interfaces = Interfaces::default();
        assert_eq!(interfaces.absent(&["eth1".to_owned()]).len(), 1);
        assert!(interfaces.absent(&["eth1".to_owned()]).is_empty());
        assert_eq!(event(interfaces.note("eth1", Ok(Kept::Gone))), None);
        assert!(interfaces.absent(&[]).is_empty());
        assert_eq!(event(interfaces.note("eth1", Ok(Kept::Gone))), Some("gone"), "it was back meanwhile");
    }
}
