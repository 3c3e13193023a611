//! The filters that are compared, and how each of them is set up.

use std::{fs, net::UdpSocket, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use ringfence_tests::{
    filter::{Filter, FilterOptions},
    netns::Wire,
    process::{Spawned, run as output_of},
};

use crate::{
    driver,
    messages::{AGENT, scanner_message},
    namespace::enter,
    policies::{self, Lists},
};

/// The sample policy's rule that drops the flood.
pub(crate) const SAMPLE_RULE: &str = "scanners";

/// The name of the filter with all outputs.
const OUTPUTS: &str = "Ringfence, sample policy, all outputs";

/// What protects the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    None,
    Iptables,
    Nftables,
    XdpFilter,
    XdpDrop,
    Secfilter,
    Sample,
    /// With all outputs, and a capture.
    Outputs,
    Large,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::None,
        Self::Iptables,
        Self::Nftables,
        Self::XdpFilter,
        Self::XdpDrop,
        Self::Secfilter,
        Self::Sample,
        Self::Outputs,
        Self::Large,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "no filter",
            Self::Iptables => "iptables, string match",
            Self::Nftables => "nftables, fixed offset",
            Self::XdpFilter => "xdp-filter, whole port",
            Self::XdpDrop => "bare XDP_DROP",
            Self::Secfilter => "Kamailio's secfilter",
            Self::Sample => "Ringfence, sample policy",
            Self::Outputs => OUTPUTS,
            Self::Large => "Ringfence, large policy",
        }
    }
}

/// The limits of a filter that its figures do not show.
pub(crate) fn remark(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::None => "packets are lost here only because the socket is full",
        Kind::Iptables => {
            "`-t raw -A PREROUTING -m string --algo bm`; finds the text anywhere in the packet, not only in the user agent"
        }
        Kind::Nftables => {
            "at the netdev ingress hook; matches only at a fixed offset below 256 bytes, which works here because all packets of \
             this flood are alike, and would not work against any other flood"
        }
        Kind::XdpFilter => "matches only ports and addresses: it drops the ordinary packets too",
        Kind::XdpDrop => "drops everything: the upper limit",
        Kind::Secfilter => "drops after the socket; Kamailio never reads what a full socket loses",
        Kind::Outputs => {
            "the sample policy; events to a file, messages by HEP, metrics, samples, and a capture at work at the same time"
        }
        Kind::Sample | Kind::Large => return None,
    })
}

/// A filter in place. Dropping it removes the filter.
pub(crate) enum InPlace {
    /// It is part of the namespace, and is removed with it.
    Namespace,
    Ringfence {
        /// Ended before the filter.
        _listeners: Option<Listeners>,
        filter: Filter,
    },
    Program {
        program: Box<Ebpf>,
    },
    XdpFilter {
        unload: Option<Command>,
    },
    Kamailio {
        _process: Spawned,
    },
}

impl InPlace {
    /// The number of packets that this filter has dropped by the rule that the flood is about, according to its own
    /// counter; `None` if it has none.
    pub(crate) fn dropped(&self, kind: Kind, wire: &Wire) -> Result<Option<u64>> {
        Ok(match (kind, self) {
            (Kind::Iptables, _) => {
                let mut list = wire.server.command("iptables");
                list.args(["-t", "raw", "-nvxL", "PREROUTING"]);
                Some(iptables_counter(&output_of(list)?)?)
            }
            (Kind::Nftables, _) => {
                let mut list = wire.server.command("nft");
                list.args(["-j", "list", "table", "netdev", "bench"]);
                Some(nft_counter(&output_of(list)?)?)
            }
            (Kind::Sample | Kind::Outputs, Self::Ringfence { filter, .. }) => Some(filter.packets(SAMPLE_RULE)?),
            (Kind::Large, Self::Ringfence { filter, .. }) => Some(filter.packets(policies::SCANNER_RULE)?),
            (Kind::XdpDrop, Self::Program { program }) => Some(driver::dropped(program)?),
            _ => None,
        })
    }
}

/// Who gets what a filter with all outputs sends.
pub(crate) struct Listeners {
    _capture: Spawned,
    /// Nobody reads it: the kernel lets go what does not fit.
    _homer: UdpSocket,
}

impl InPlace {
    /// The most memory that the daemon has had, in KiB; none if there is none.
    pub(crate) fn peak(&self) -> Option<u64> {
        match self {
            Self::Ringfence { filter, .. } => filter.peak_memory().ok(),
            Self::Namespace | Self::Program { .. } | Self::XdpFilter { .. } | Self::Kamailio { .. } => None,
        }
    }
}

/// The packets of the only rule that drops, in what `iptables -nvxL` prints.
fn iptables_counter(text: &str) -> Result<u64> {
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let packets = words.into_iter().find(|words| words.get(2) == Some(&"DROP")).and_then(|words| words[0].parse().ok());
    packets.with_context(|| format!("no counter in {text:?}"))
}

/// The packets of the only counter in what `nft -j list` prints.
fn nft_counter(text: &str) -> Result<u64> {
    let listed: serde_json::Value = serde_json::from_str(text).context("failed to parse the output of nft")?;
    let objects = listed["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let expressions = objects.iter().filter_map(|object| object["rule"]["expr"].as_array()).flatten();
    let packets = expressions.into_iter().find_map(|expression| expression["counter"]["packets"].as_u64());
    packets.with_context(|| format!("no counter in {text}"))
}

impl Drop for InPlace {
    fn drop(&mut self) {
        // All namespaces share one folder for its pins, so the pins would outlive this namespace.
        if let Self::XdpFilter { unload } = self
            && let Some(command) = unload.take()
            && let Err(error) = output_of(command)
        {
            eprintln!("failed to remove xdp-filter: {error:#}");
        }
        // Remove libxdp's folder of pins if it is empty.
        if matches!(self, Self::XdpFilter { .. }) {
            let _ = fs::remove_dir("/sys/fs/bpf/xdp");
        }
    }
}

/// Sets the filter up.
pub(crate) fn put(kind: Kind, wire: &Wire, scratch: &Path, binary: &Path) -> Result<InPlace> {
    let interface = Wire::SERVER_INTERFACE;
    let inside = |program: &str, words: &[&str]| {
        let mut command = wire.server.command(program);
        command.args(words);
        command
    };
    Ok(match kind {
        Kind::None => InPlace::Namespace,
        Kind::Iptables => {
            let rule = "-t raw -A PREROUTING -p udp --dport 5060 -m string --algo bm --string friendly-scanner -j DROP";
            output_of(inside("iptables", &rule.split(' ').collect::<Vec<_>>()))?;
            InPlace::Namespace
        }
        Kind::Nftables => {
            let place = scanner_message().find(AGENT).context("no user agent in the message")? + "User-Agent: ".len();
            // The offset counts bits from the start of the UDP header.
            let agent: String = "friendly-scanner".bytes().map(|byte| format!("{byte:02x}")).collect();
            let rules = format!(
                "table netdev bench {{\n  chain in {{\n    type filter hook ingress device \"{interface}\" priority 0;\n    \
                 udp dport 5060 @th,{},128 0x{agent} counter drop\n  }}\n}}\n",
                (8 + place) * 8,
            );
            let file = scratch.join("rules.nft");
            fs::write(&file, rules)?;
            let mut command = wire.server.command("nft");
            command.arg("-f").arg(&file);
            output_of(command)?;
            InPlace::Namespace
        }
        Kind::XdpFilter => {
            output_of(inside("xdp-filter", &["load", interface]))?;
            let in_place = InPlace::XdpFilter { unload: Some(inside("xdp-filter", &["unload", interface])) };
            output_of(inside("xdp-filter", &["port", "-p", "udp", "-m", "dst", "5060"]))?;
            in_place
        }
        Kind::XdpDrop => {
            let path = wire.server.path();
            let attached = thread::spawn(move || {
                enter(&path)?;
                driver::attach("drop_counted", interface)
            });
            InPlace::Program { program: Box::new(attached.join().expect("attaching panicked")?) }
        }
        Kind::Secfilter => InPlace::Kamailio { _process: kamailio(wire, scratch)? },
        Kind::Sample | Kind::Large => {
            let policy = if kind == Kind::Sample {
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
            } else {
                let folder = scratch.join("policy");
                policies::all_scopes(&Lists::generated(100_000, 100_000)).write(&folder)?;
                folder
            };
            let options =
                FilterOptions { arguments: &["--interval", "60"], ..FilterOptions::new(binary, interface, &policy) };
            InPlace::Ringfence { filter: Filter::start(wire, scratch, &options)?, _listeners: None }
        }
        Kind::Outputs => {
            let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
            let homer = wire.server.within(|| Ok(UdpSocket::bind("127.0.0.1:0")?))?;
            let configuration = scratch.join("outputs.toml");
            let text = format!(
                "version = 1\n[[interface]]\nname = \"{interface}\"\n[policy]\ndirectory = \"policy\"\n\
                 [outputs.prometheus]\nlisten = \"127.0.0.1:9469\"\n[outputs.file]\npath = \"events.jsonl\"\n\
                 [outputs.hep]\nto = \"udp:{}\"\n",
                homer.local_addr()?
            );
            fs::write(&configuration, text)?;
            let configuration = configuration.to_str().context("a path in UTF-8")?;
            let arguments = ["--interval", "60", "--config", configuration];
            let options = FilterOptions { arguments: &arguments, ..FilterOptions::new(binary, interface, &policy) };
            let filter = Filter::start(wire, scratch, &options)?;
            let mut capture = filter.command("capture", &["--write"]);
            capture.arg(scratch.join("flood.pcapng"));
            let mut capture = Spawned::start("capture", capture, scratch)?;
            capture.wait_until("start of the capture", Duration::from_secs(20), |capture| {
                Ok(capture.stderr().contains("capturing to").then_some(()))
            })?;
            InPlace::Ringfence { filter, _listeners: Some(Listeners { _capture: capture, _homer: homer }) }
        }
    })
}

/// The port to which Kamailio forwards what it does not drop.
pub(crate) const AFTER_KAMAILIO: u16 = 5071;

/// Kamailio with its secfilter module: drops by user agent, and forwards everything else.
fn kamailio(wire: &Wire, scratch: &Path) -> Result<Spawned> {
    let tables = scratch.join("dbtext");
    fs::create_dir_all(&tables)?;
    fs::write(tables.join("version"), "table_name(string) table_version(int)\nsecfilter:1\n")?;
    // Action 0: blacklist; type 0: user agent.
    fs::write(tables.join("secfilter"), "id(int,auto) action(int) type(int) data(string)\n1:0:0:friendly-scanner\n")?;
    let configuration = scratch.join("secfilter.cfg");
    fs::write(
        &configuration,
        format!(
            "#!KAMAILIO\ndebug=0\nlog_stderror=yes\nfork=yes\nchildren=2\nauto_aliases=no\ndisable_tcp=yes\n\
             loadmodule \"db_text.so\"\nloadmodule \"sl.so\"\nloadmodule \"pv.so\"\nloadmodule \"secfilter.so\"\n\
             modparam(\"secfilter\", \"db_url\", \"text://{}\")\n\
             request_route {{\n    if (!secf_check_ua()) exit;\n    if ($retcode < 0) exit;\n\
             \x20   $du = \"sip:127.0.0.1:{AFTER_KAMAILIO}\";\n    forward();\n}}\n",
            tables.display()
        ),
    )?;
    let mut command = wire.server.command("kamailio");
    command.args(["-DD", "-E", "-m", "64", "-M", "8", "-f"]).arg(&configuration);
    command.arg("-P").arg(scratch.join("kamailio.pid")).arg("-Y").arg(scratch);
    command.args(["-l", &format!("udp:{}:5060", Wire::SERVER_IPV4)]);
    command.current_dir(scratch);
    let mut process = Spawned::start("kamailio", command, scratch)?;
    process.wait_until("Kamailio's port", Duration::from_secs(20), |_| {
        let mut sockets = wire.server.command("ss");
        sockets.args(["-Hlun", "sport", "=", ":5060"]);
        Ok((!output_of(sockets)?.trim().is_empty()).then_some(()))
    })?;
    Ok(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_in_what_iptables_and_nft_print() {
        let iptables = "Chain PREROUTING (policy ACCEPT 12 packets, 3456 bytes)\n    \
            pkts      bytes target     prot opt in     out     source               destination         \n   \
            65536 60817408 DROP       17   --  *      *       0.0.0.0/0            0.0.0.0/0            udp dpt:5060 STRING match\n";
        assert_eq!(iptables_counter(iptables).unwrap(), 65_536);
        assert!(iptables_counter("Chain PREROUTING (policy ACCEPT 12 packets, 3456 bytes)\n").is_err());
        let nft = r#"{"nftables":[{"metainfo":{}},{"table":{"family":"netdev","name":"bench"}},{"rule":{"family":"netdev",
            "expr":[{"match":{}},{"counter":{"packets":640,"bytes":1}},{"drop":null}]}}]}"#;
        assert_eq!(nft_counter(nft).unwrap(), 640);
        assert!(nft_counter("{}").is_err());
    }
}
