//! Where the daemon and its filter are: what the options say, or else the daemon's configuration.

use std::path::{Path, PathBuf};

use filter_policy::language::{diagnostics::Diagnostics, printable};

use crate::{
    api::DEFAULT_SOCKET,
    config::{self, Configuration},
    doctor,
    kernel::{DEFAULT_PIN_DIRECTORY, Interface, Pins},
    repository::DEFAULT_STATE,
};

/// Where the daemon and its filter are found.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Place {
    /// The daemon's configuration file, which says where both of these are [default: /etc/ringfence/ringfence.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory on a BPF file system that holds the filter's state [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    pub pin_dir: Option<PathBuf>,
    /// Unix socket of the daemon [default: that of the configuration]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// As [`Place`], with the state directory.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PlaceAndState {
    /// The daemon's state directory [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

impl PlaceAndState {
    /// As [`Place::find`].
    ///
    /// # Errors
    /// As [`Place::find`].
    pub fn find(&self) -> Result<Found, Unreadable> {
        let found = self.place.find()?;
        Ok(Found { state: self.state_dir.clone().unwrap_or(found.state), ..found })
    }
}

/// Where they are.
#[derive(Clone, Debug)]
pub struct Found {
    /// The filter's pins.
    pub pins: Pins,
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The daemon's state directory.
    pub state: PathBuf,
    /// The interfaces that the configuration names; none if they are not those of this filter.
    pub interfaces: Vec<Interface>,
}

/// The configuration that was named cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl Place {
    /// Finds them. What a configuration with mistakes says is used as far as it can be read, and the mistakes go to standard error: a filter
    /// must be found, and removed, without a configuration in order.
    ///
    /// # Errors
    /// The configuration that was named cannot be read.
    pub fn find(&self) -> Result<Found, Unreadable> {
        // With both options, the file is not needed.
        let path = if self.config.is_none() && self.pin_dir.is_some() && self.socket.is_some() {
            None
        } else {
            configuration(self.config.clone())
        };
        let (file, mistakes) = path.as_deref().map(Configuration::read_partly).unwrap_or_default();
        if mistakes.has_errors() {
            let path = path.unwrap_or_default();
            let text = complaint(&path, &mistakes);
            if self.config.is_some() && !path.is_file() {
                return Err(Unreadable(text));
            }
            eprintln!("ringfence: {text}; what can be read of it is used");
        }
        Ok(self.or(file))
    }

    /// What `ringfence doctor` and `ringfence support` look at: they judge the configuration themselves.
    pub(super) fn examined(self, interfaces: Vec<String>) -> doctor::Options {
        doctor::Options {
            interfaces,
            configuration: configuration(self.config),
            pins: self.pin_dir,
            socket: self.socket,
        }
    }

    /// The options, or else what the file says, or else the defaults.
    fn or(&self, file: Configuration) -> Found {
        let own = file.pins.unwrap_or_else(|| DEFAULT_PIN_DIRECTORY.into());
        // With other pins, it is another filter that is asked about.
        let others = self.pin_dir.as_ref().is_some_and(|pins| *pins != own);
        Found {
            pins: Pins::new(self.pin_dir.clone().unwrap_or(own)),
            socket: self.socket.clone().or(file.socket).unwrap_or_else(|| DEFAULT_SOCKET.into()),
            state: file.state.unwrap_or_else(|| DEFAULT_STATE.into()),
            interfaces: if others { Vec::new() } else { file.interfaces },
        }
    }
}

/// The configuration: the one that was named, or the default one, if it exists.
pub(super) fn configuration(named: Option<PathBuf>) -> Option<PathBuf> {
    named.or_else(|| {
        let path = Path::new(config::DEFAULT_PATH);
        // Where it cannot be asked, reading it says why.
        path.try_exists().unwrap_or(true).then(|| path.to_path_buf())
    })
}

fn complaint(path: &Path, mistakes: &Diagnostics) -> String {
    let path = printable::path(path);
    let first = mistakes.iter().next().map_or_else(String::new, |first| first.message.clone());
    if mistakes.iter().all(|mistake| mistake.place.is_none()) {
        return first;
    }
    format!("the configuration {path} has mistakes ({}): {first}", mistakes.totals())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FILE: &str = r#"
version = 1
[[interface]]
name = "eth0"
[api]
socket = "daemon.sock"
[pins]
directory = "/sys/fs/bpf/other"
"#;

    fn place(config: Option<PathBuf>, pin_dir: Option<&str>, socket: Option<&str>) -> Place {
        Place { config, pin_dir: pin_dir.map(Into::into), socket: socket.map(Into::into) }
    }

    fn in_folder(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ringfence.toml");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn names(found: &Found) -> Vec<&str> {
        found.interfaces.iter().map(|interface| interface.name.as_str()).collect()
    }

    #[test]
    fn the_configuration_says_where_they_are() {
        let (folder, path) = in_folder(FILE);
        let found = place(Some(path), None, None).find().unwrap();
        assert_eq!(found.pins, Pins::new("/sys/fs/bpf/other"));
        assert_eq!(found.socket, folder.path().join("daemon.sock"));
        assert_eq!(names(&found), ["eth0"]);
    }

    #[test]
    fn options_override_it_and_other_pins_are_another_filter() {
        let (_folder, path) = in_folder(FILE);
        let found = place(Some(path.clone()), None, Some("s")).find().unwrap();
        assert_eq!((found.socket.to_str(), names(&found)), (Some("s"), vec!["eth0"]));
        let found = place(Some(path), Some("/sys/fs/bpf/third"), None).find().unwrap();
        assert_eq!((found.pins, found.interfaces.len()), (Pins::new("/sys/fs/bpf/third"), 0));
    }

    #[test]
    fn without_either_they_are_where_the_daemon_puts_them() {
        let found = Place::default().or(Configuration::default());
        assert_eq!((found.pins, found.socket), (Pins::default(), DEFAULT_SOCKET.into()));
        let found = place(None, Some("p"), Some("s")).find().unwrap();
        assert_eq!((found.pins, found.socket.to_str()), (Pins::new("p"), Some("s")));
    }

    #[test]
    fn a_mistake_elsewhere_in_the_file_does_not_hide_them() {
        let (_folder, path) = in_folder(&FILE.replace("version = 1", "version = 1\nedeg = \"a\""));
        let found = place(Some(path), None, None).find().unwrap();
        assert_eq!(
            (found.pins, names(&Place::default().or(Configuration::default())).len()),
            (Pins::new("/sys/fs/bpf/other"), 0)
        );
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        let error = place(Some("/nonexistent/ringfence.toml".into()), None, None).find().unwrap_err();
        assert!(error.to_string().contains("/nonexistent/ringfence.toml"), "{error}");
    }
}
