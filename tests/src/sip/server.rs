//! The server that the filter protects: Kamailio, with a SIPp called party.

use std::{collections::BTreeMap, net::IpAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};

use super::{SIP_PORT, write};
use crate::{
    netns::{Namespace, Wire},
    process::{Spawned, run, wait_until},
};

/// How long a server may take to start listening.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The protected server: Kamailio, which relays calls to a SIPp called party on loopback, answers OPTIONS, challenges
/// REGISTER, and logs every request it receives.
#[derive(Debug)]
pub struct Server {
    kamailio: Spawned,
    called_party: Spawned,
}

impl Server {
    /// Starts both in the wire's server namespace and waits until they listen. The called party exits after `limit` if it is
    /// not stopped.
    ///
    /// # Errors
    /// Kamailio or SIPp is not installed, or does not start: its log is part of the error.
    pub fn start(wire: &Wire, scratch: &Path, limit: Duration) -> Result<Self> {
        let called_party = {
            let scenario = write(scratch, "called-party.xml", include_str!("../../scenarios/called-party.xml"))?;
            let mut command = wire.server.command("sipp");
            command.arg("-sf").arg(&scenario).args(["-i", "127.0.0.1", "-p", "5070", "-nostdin"]);
            command.args(["-timeout", &limit.as_secs().to_string()]);
            command.current_dir(scratch);
            Spawned::start("called-party", command, scratch)?
        };
        let configuration = write(scratch, "kamailio.cfg", include_str!("../../scenarios/kamailio.cfg"))?;
        let mut command = wire.server.command("kamailio");
        command.args(["-DD", "-E", "-m", "32", "-M", "8", "-f"]).arg(&configuration);
        command.arg("-P").arg(scratch.join("kamailio.pid")).arg("-Y").arg(scratch);
        for address in [Wire::SERVER_IPV4.to_owned(), format!("[{}]", Wire::SERVER_IPV6), "127.0.0.1".to_owned()] {
            command.args(["-l", &format!("udp:{address}:{SIP_PORT}"), "-l", &format!("tcp:{address}:{SIP_PORT}")]);
        }
        command.current_dir(scratch);
        let kamailio = Spawned::start("kamailio", command, scratch)?;
        let mut server = Self { kamailio, called_party };
        server.await_port(&wire.server, SIP_PORT)?;
        server.await_port(&wire.server, 5070)?;
        Ok(server)
    }

    /// The number of requests that Kamailio has logged, by sender.
    ///
    /// # Errors
    /// A line of its log cannot be read.
    pub fn requests_by_source(&self) -> Result<BTreeMap<IpAddr, u64>> {
        let mut requests = BTreeMap::new();
        for line in self.kamailio.stderr().lines() {
            let Some((_, fields)) = line.split_once("request ") else { continue };
            let Some(source) = fields.split_whitespace().skip_while(|word| *word != "from").nth(1) else { continue };
            let source = source.trim_matches(['[', ']']).parse().with_context(|| format!("an address in {line:?}"))?;
            *requests.entry(source).or_default() += 1;
        }
        Ok(requests)
    }

    /// Checks that both servers still run.
    ///
    /// # Errors
    /// One has exited: its log is part of the error.
    pub fn check(&mut self) -> Result<()> {
        for process in [&mut self.kamailio, &mut self.called_party] {
            if let Some(status) = process.poll()? {
                bail!("{} has exited ({status}); its output ends with:\n{}", process.name(), process.last_words());
            }
        }
        Ok(())
    }

    fn await_port(&mut self, namespace: &Namespace, port: u16) -> Result<()> {
        let what = format!("server on port {port}");
        wait_until(&what, START_LIMIT, || {
            self.check()?;
            let mut command = namespace.command("ss");
            command.args(["-Hlun", "sport", "=", &format!(":{port}")]);
            Ok((!run(command)?.trim().is_empty()).then_some(()))
        })
    }
}
