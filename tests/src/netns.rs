//! Network namespaces joined by a veth pair: the outside world on one end, the protected server on the other.
//!
//! Names contain the process id and a counter, so that any number of copies can run at the same time. Everything is removed
//! when its owner is dropped, even if the test fails.

use std::{
    fs::File,
    net::IpAddr,
    os::fd::AsFd,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::run;

/// A named network namespace, deleted on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Creates a namespace with its loopback up; `role` becomes part of its name.
    ///
    /// # Errors
    /// Not root, or iproute2 is missing.
    pub fn new(role: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        ensure_root()?;
        let name = format!("ringfence-{}-{}-{role}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name for `ip netns`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that keeps the namespace and by which tools open it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A command that runs inside the namespace. The kernel sends it SIGTERM if the thread that started it dies.
    ///
    /// Uses `nsenter`, not `ip netns exec`, which mounts a new /sys and so hides the BPF file system. Both `setpriv` and
    /// `nsenter` replace themselves with the program they start, so the process id is that of `program`.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        // Servers are installed in sbin, which is not in every shell's PATH, not even in root's.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
        command.args(["--pdeathsig", "TERM", "nsenter"]).arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    /// Does `work` inside, in a thread of its own: a thread cannot leave a namespace it has entered. Sockets that are opened there
    /// stay in the namespace.
    ///
    /// # Errors
    /// Not root, or `work` fails.
    ///
    /// # Panics
    /// `work` panics.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = File::open(self.path()).context("failed to open the namespace")?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .context("failed to enter the namespace")?;
                work()
            });
            inside.join().expect("work inside a namespace panicked")
        })
    }

    /// Runs `ip` inside.
    ///
    /// # Errors
    /// `ip` fails: its message is the error.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name]).args(arguments);
        run(command)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "delete", &self.name]) {
            eprintln!("failed to delete the namespace {}: {error:#}", self.name);
        }
    }
}

/// Checks that namespaces can be created.
///
/// # Errors
/// Not root.
pub fn ensure_root() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "network namespaces need root: run this as root, or with sudo -E");
    Ok(())
}

/// How to set up a [`Wire`].
#[derive(Clone, Copy, Debug)]
pub struct WireOptions {
    /// MTU of both ends.
    pub mtu: u32,
    /// With a VLAN, the addresses are on an 802.1Q sub-interface of each end.
    pub vlan: Option<u16>,
}

impl Default for WireOptions {
    fn default() -> Self {
        Self { mtu: 1500, vlan: None }
    }
}

/// Two namespaces and the wire between them.
#[derive(Debug)]
pub struct Wire {
    /// Where callers, carriers and scanners are.
    pub network: Namespace,
    /// Where the protected server runs.
    pub server: Namespace,
    vlan: Option<u16>,
}

impl Wire {
    /// The network's end.
    pub const NETWORK_INTERFACE: &str = "net0";
    /// The server's end, where the filter goes.
    pub const SERVER_INTERFACE: &str = "sip0";
    /// The server's IPv4 address.
    pub const SERVER_IPV4: &str = "10.20.0.1";
    /// The server's IPv6 address (from the documentation prefix, RFC 3849).
    pub const SERVER_IPV6: &str = "2001:db8:20::1";

    /// Creates both namespaces and joins them. The server gets its addresses, and answers every sender through the wire;
    /// [`Self::add_sender`] adds those of senders.
    ///
    /// # Errors
    /// Not root, or the kernel lacks veth (or 8021q).
    pub fn new(options: &WireOptions) -> Result<Self> {
        let wire = Self { network: Namespace::new("network")?, server: Namespace::new("server")?, vlan: options.vlan };
        let mtu = options.mtu.to_string();
        let (network, server) = (Self::NETWORK_INTERFACE, Self::SERVER_INTERFACE);
        wire.network.ip(&[
            "link",
            "add",
            network,
            "mtu",
            &mtu,
            "type",
            "veth",
            "peer",
            "name",
            server,
            "mtu",
            &mtu,
            "netns",
            wire.server.name(),
        ])?;
        for (namespace, interface) in [(&wire.network, network), (&wire.server, server)] {
            namespace.ip(&["link", "set", interface, "up"])?;
            if let Some(vlan) = options.vlan {
                let tagged = tagged_name(interface, vlan);
                namespace.ip(&[
                    "link",
                    "add",
                    "link",
                    interface,
                    "name",
                    &tagged,
                    "type",
                    "vlan",
                    "id",
                    &vlan.to_string(),
                ])?;
                namespace.ip(&["link", "set", &tagged, "up"])?;
            }
        }
        let inner = wire.addressed(server);
        wire.server.ip(&["address", "add", &format!("{}/16", Self::SERVER_IPV4), "dev", &inner])?;
        wire.server.ip(&["address", "add", &format!("{}/64", Self::SERVER_IPV6), "dev", &inner, "nodad"])?;
        // Everything is on-link, so that the server can answer any sender.
        wire.server.ip(&["route", "add", "default", "dev", &inner])?;
        wire.server.ip(&["-6", "route", "add", "default", "dev", &inner])?;
        let outer = wire.addressed(network);
        wire.network.ip(&["route", "add", "10.20.0.0/16", "dev", &outer])?;
        wire.network.ip(&["-6", "route", "add", "2001:db8:20::/64", "dev", &outer])?;
        Ok(wire)
    }

    /// Whether this kernel supports 802.1Q interfaces; some cloud kernels do not.
    ///
    /// # Errors
    /// Not root.
    pub fn has_vlan_interfaces() -> Result<bool> {
        let namespace = Namespace::new("vlan")?;
        let result = namespace.ip(&["link", "add", "link", "lo", "name", "lo.2", "type", "vlan", "id", "2"]);
        Ok(!result.is_err_and(|error| error.to_string().contains("Unknown device type")))
    }

    /// Adds an address to the network's end.
    ///
    /// # Errors
    /// The address is already there.
    pub fn add_sender(&self, address: IpAddr) -> Result<()> {
        let interface = self.addressed(Self::NETWORK_INTERFACE);
        let (address, family) = match address {
            IpAddr::V4(address) => (format!("{address}/32"), "-4"),
            IpAddr::V6(address) => (format!("{address}/128"), "-6"),
        };
        let mut arguments = vec![family, "address", "add", &address, "dev", &interface];
        if family == "-6" {
            // Duplicate address detection would keep the address unusable for a second.
            arguments.push("nodad");
        }
        self.network.ip(&arguments).with_context(|| format!("failed to add the sender {address}"))?;
        Ok(())
    }

    /// Makes `source` the address that programs on the network's end send from, unless they bind to another.
    ///
    /// # Errors
    /// The network's end does not have that address.
    pub fn send_from(&self, source: IpAddr) -> Result<()> {
        let interface = self.addressed(Self::NETWORK_INTERFACE);
        let (family, prefix) = if source.is_ipv4() { ("-4", "10.20.0.0/16") } else { ("-6", "2001:db8:20::/64") };
        self.network.ip(&[family, "route", "replace", prefix, "dev", &interface, "src", &source.to_string()])?;
        Ok(())
    }

    /// The Ethernet addresses of the network's end and of the server's.
    ///
    /// # Errors
    /// The output of `ip` cannot be read.
    pub fn macs(&self) -> Result<([u8; 6], [u8; 6])> {
        let mac = |namespace: &Namespace, interface| -> Result<[u8; 6]> {
            let text = namespace.ip(&["-j", "link", "show", "dev", interface])?;
            let facts: serde_json::Value = serde_json::from_str(&text).context("failed to parse the output of ip")?;
            let address = facts[0]["address"].as_str().context("the interface has no address")?;
            let bytes: Vec<u8> =
                address.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
            bytes.try_into().ok().context("not a MAC address")
        };
        Ok((mac(&self.network, Self::NETWORK_INTERFACE)?, mac(&self.server, Self::SERVER_INTERFACE)?))
    }

    /// The server's interface that has its addresses: that of the VLAN, if there is one.
    #[must_use]
    pub fn server_interface(&self) -> String {
        self.addressed(Self::SERVER_INTERFACE)
    }

    fn addressed(&self, interface: &str) -> String {
        self.vlan.map_or_else(|| interface.to_owned(), |vlan| tagged_name(interface, vlan))
    }
}

fn tagged_name(interface: &str, vlan: u16) -> String {
    format!("{interface}.{vlan}")
}

fn ip(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("ip");
    command.args(arguments);
    run(command)
}
