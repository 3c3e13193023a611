//! The servers: small programs on SIP libraries, compiled here, and Kamailio.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{kamailio::Kamailio, reading::Reading, target};

/// A program on a SIP library.
struct Library {
    name: &'static str,
    source: &'static str,
    /// What pkg-config knows it as; none for PJSIP, whose libraries are not installed.
    package: Option<&'static str>,
    /// The Debian package, or what else it comes from.
    from: &'static str,
    extra: &'static [&'static str],
}

const LIBRARIES: [Library; 5] = [
    Library {
        name: "sofia",
        source: include_str!("../readers/sofia.c"),
        package: Some("sofia-sip-ua"),
        from: "libsofia-sip-ua-dev",
        extra: &[],
    },
    Library {
        name: "osip",
        source: include_str!("../readers/osip.c"),
        package: Some("libosip2"),
        from: "libosip2-dev",
        extra: &[],
    },
    Library {
        name: "belle",
        source: include_str!("../readers/belle.c"),
        package: Some("belle-sip"),
        from: "libbellesip-dev",
        extra: &["-lbctoolbox"],
    },
    Library {
        name: "libre",
        source: include_str!("../readers/libre.c"),
        package: Some("libre"),
        from: "libre-dev",
        extra: &[],
    },
    Library {
        name: "pjsip",
        source: include_str!("../readers/pjsip.c"),
        package: None,
        from: "cargo xtask setup servers",
        extra: &[],
    },
];

/// PJSIP's libraries, once the set-up has unpacked them.
fn pjsip() -> PathBuf {
    target().join("tools/pjsip")
}

impl Library {
    /// Why it cannot be built here.
    fn missing(&self) -> Option<String> {
        let there = match self.package {
            Some(package) => {
                let found = Command::new("pkg-config").args(["--exists", package]).status();
                found.is_ok_and(|status| status.success())
            }
            None => pjsip().is_dir(),
        };
        (!there).then(|| format!("{} ({})", self.name, self.from))
    }

    /// Compiles the reader; returns where it is.
    fn build(&self) -> Result<PathBuf> {
        let folder = target().join("servers");
        fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        // Several test programs may build at once: each builds its own, and the last one stays.
        let work = tempfile::Builder::new().prefix("build-").tempdir_in(&folder)?;
        let source = work.path().join(format!("{}.c", self.name));
        let built = work.path().join(self.name);
        fs::write(&source, self.source)?;
        fs::write(work.path().join("reader.h"), include_str!("../readers/reader.h"))?;
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-Wall"]).arg(&source).arg("-o").arg(&built);
        match self.package {
            Some(package) => {
                let flags = Command::new("pkg-config").args(["--cflags", "--libs", package]).output()?;
                compiler.args(String::from_utf8_lossy(&flags.stdout).split_whitespace());
            }
            None => {
                // The libraries find one another there: a run path, which they inherit, not the newer kind.
                compiler.arg(format!("-Wl,--disable-new-dtags,--allow-shlib-undefined,-rpath,{}", pjsip().display()));
                compiler.args(shared_libraries(&pjsip())?);
            }
        }
        let output = compiler.args(self.extra).output().context("failed to start cc")?;
        if !output.status.success() {
            bail!("failed to compile the reader {}:\n{}", self.name, String::from_utf8_lossy(&output.stderr));
        }
        let path = folder.join(self.name);
        fs::rename(&built, &path).with_context(|| format!("failed to move {}", path.display()))?;
        Ok(path)
    }
}

/// The libraries of PJSIP that the reader calls.
fn shared_libraries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if ["libpj-", "libpjlib-util-"].iter().any(|start| name.starts_with(start)) || is_core(&name) {
            all.push(path);
        }
    }
    Ok(all)
}

/// `libpjsip-HASH.so.2`, not `libpjsip-ua-HASH.so.2`.
fn is_core(name: &str) -> bool {
    name.strip_prefix("libpjsip-").is_some_and(|rest| !rest.starts_with("ua-") && !rest.starts_with("simple-"))
}

/// What is not installed of what the readers need, for a message.
#[must_use]
pub fn missing_packages() -> Vec<String> {
    let mut missing: Vec<_> = LIBRARIES.iter().filter_map(Library::missing).collect();
    if let Err(error) = Kamailio::available() {
        missing.push(format!("kamailio ({error:#})"));
    }
    missing
}

/// A running reader: messages go to its standard input, readings come from its standard output.
struct Program {
    path: PathBuf,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(path: &Path) -> Result<Self> {
        let mut child = Command::new(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("failed to start {}", path.display()))?;
        let input = child.stdin.take().context("no standard input")?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { path: path.to_owned(), child, input, output })
    }

    /// Reads a message; none if the program ended over it.
    fn read(&mut self, message: &[u8]) -> Option<Reading> {
        let length = u32::try_from(message.len()).ok()?;
        self.input.write_all(&[&length.to_le_bytes(), message].concat()).ok()?;
        self.input.flush().ok()?;
        let mut line = String::new();
        self.output.read_line(&mut line).ok()?;
        Reading::parse(line.trim_end_matches('\n'))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

enum Server {
    Library(Program),
    Kamailio(Kamailio),
}

/// The servers that are compared.
pub struct Readers {
    servers: Vec<(&'static str, Server)>,
    /// Messages over which a server ended, by server.
    pub crashes: Vec<(&'static str, Vec<u8>)>,
}

impl Readers {
    /// Builds and starts those that are installed; only that one if a name is given.
    ///
    /// # Errors
    /// One does not compile or start, or there is none.
    pub fn start(only: Option<&str>) -> Result<Self> {
        let mut servers = Vec::new();
        let wanted = |name| only.is_none_or(|only| only == name);
        for library in LIBRARIES.iter().filter(|library| wanted(library.name) && library.missing().is_none()) {
            servers.push((library.name, Server::Library(Program::start(&library.build()?)?)));
        }
        if wanted("kamailio") && Kamailio::available().is_ok() {
            servers.push(("kamailio", Server::Kamailio(Kamailio::start()?)));
        }
        if servers.is_empty() {
            bail!("no server to compare with: run cargo xtask setup servers");
        }
        Ok(Self { servers, crashes: Vec::new() })
    }

    /// Their names, in the order of readings.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.servers.iter().map(|(name, _)| *name).collect()
    }

    /// What each server reads in each of these messages: by server, then by message.
    ///
    /// # Errors
    /// A server cannot be started again.
    pub fn read(&mut self, messages: &[Vec<u8>]) -> Result<Vec<Vec<Reading>>> {
        let results: Vec<Result<_>> = std::thread::scope(|scope| {
            let running: Vec<_> = self
                .servers
                .iter_mut()
                .map(|(name, server)| scope.spawn(move || read_all(name, server, messages)))
                .collect();
            running.into_iter().map(|thread| thread.join().expect("a reader's thread does not panic")).collect()
        });
        let mut readings = Vec::new();
        for result in results {
            let (reading, crashes) = result?;
            readings.push(reading);
            self.crashes.extend(crashes);
        }
        Ok(readings)
    }

    /// What one server, by its place in [`Self::names`], reads in one message.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_one(&mut self, server: usize, message: &[u8]) -> Result<Reading> {
        let (name, server) = &mut self.servers[server];
        let (mut readings, crashes) = read_all(name, server, &[message.to_vec()])?;
        self.crashes.extend(crashes);
        readings.pop().context("one message has one reading")
    }
}

type Crash = (&'static str, Vec<u8>);

fn read_all(name: &'static str, server: &mut Server, messages: &[Vec<u8>]) -> Result<(Vec<Reading>, Vec<Crash>)> {
    match server {
        Server::Library(program) => {
            let mut crashes = Vec::new();
            let mut readings = Vec::with_capacity(messages.len());
            for message in messages {
                readings.push(match program.read(message) {
                    Some(reading) => reading,
                    None => {
                        crashes.push((name, message.clone()));
                        *program = Program::start(&program.path.clone())?;
                        Reading::default()
                    }
                });
            }
            Ok((readings, crashes))
        }
        Server::Kamailio(kamailio) => Ok((kamailio.read(messages)?, Vec::new())),
    }
}
