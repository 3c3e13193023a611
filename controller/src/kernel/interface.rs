//! What an interface is and what is on it: the facts that `ringfence doctor` judges.

use std::{fs, os::fd::AsFd as _};

use filter_policy::language::printable;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo};

use super::{
    Error, Mode, Pins, attach, bpf,
    error::Context as _,
    ethtool::{self, Channels, Feature, XdpFeatures},
    host,
};

/// An interface. What the kernel or the driver does not tell is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceFacts {
    /// Whether it is up.
    pub up: bool,
    /// What it is, if its packets have no Ethernet header, such as `wireguard`.
    pub not_ethernet: Option<String>,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// Name of the driver, such as `ixgbe`.
    pub driver: Option<String>,
    /// For one end of a pair, such as `veth`: the other one.
    pub peer: Option<Peer>,
    /// What the driver can do with XDP programs; none before Linux 6.3.
    pub xdp: Option<XdpFeatures>,
    /// Large receive offload.
    pub lro: Option<Feature>,
    /// Generic receive offload in hardware.
    pub gro_hw: Option<Feature>,
    /// The queues that packets are received from.
    pub channels: Option<Channels>,
    /// Whether UDP packets are spread over the channels by ports.
    pub spread_by_ports: Option<bool>,
    /// The XDP program on it.
    pub program: Option<Occupant>,
}

/// The other end of a pair of interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its index.
    pub index: u32,
    /// Whether it is in another network namespace.
    pub elsewhere: bool,
}

/// An XDP program on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// The program's id.
    pub id: u32,
    /// The program's name.
    pub name: String,
    /// How it runs, if it is the only one and not in hardware.
    pub mode: Option<Mode>,
    /// Whether it is the filter of the pins in question.
    pub own: bool,
    /// What keeps it: another filter's pins, and processes that hold the program or its link open, such as `katran (process 12)`.
    pub owners: Vec<String>,
    /// The command that detaches it.
    pub off: String,
}

impl InterfaceFacts {
    /// Reads them. `pins` tell the filter's own program from others.
    ///
    /// # Errors
    /// There is no such interface, or the kernel refuses.
    pub fn read(interface: &str, pins: &Pins) -> Result<Self, Error> {
        let index = host::interface_index(interface)?;
        let link = host::link(index).context(|| format!("ask about {interface}"))?;
        let (mut mtu, mut peer_index, mut elsewhere, mut is_veth) = (None, None, false, false);
        for attribute in &link.attributes {
            if let LinkAttribute::Mtu(bytes) = attribute {
                mtu = Some(*bytes);
            } else if let LinkAttribute::Link(index) = attribute {
                peer_index = Some(*index);
            } else if let LinkAttribute::LinkNetNsId(_) = attribute {
                elsewhere = true;
            } else if let LinkAttribute::LinkInfo(infos) = attribute {
                is_veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
            }
        }
        let (lro, gro_hw) = ethtool::receive_offloads(index).unwrap_or((None, None));
        Ok(Self {
            up: link.header.flags.contains(LinkFlags::Up),
            not_ethernet: host::link_type(&link),
            mtu,
            driver: ethtool::driver(interface).ok(),
            // (Of a VLAN, the link is the interface below.)
            peer: peer_index.filter(|_| is_veth).map(|index| Peer { index, elsewhere }),
            xdp: XdpFeatures::read(index).ok(),
            lro,
            gro_hw,
            channels: ethtool::channels(index).ok(),
            spread_by_ports: ethtool::spreads_by_ports(interface).ok(),
            program: occupant(interface, index, pins)?,
        })
    }
}

/// The program on an interface.
fn occupant(interface: &str, index: u32, pins: &Pins) -> Result<Option<Occupant>, Error> {
    let Some(on) = host::xdp_on(index)? else { return Ok(None) };
    let link = bpf::get(&pins.link(interface)).and_then(|link| bpf::link_info(link.as_fd()));
    let own = link.is_ok_and(|link| link.program == on.program);
    let (id, name) = (on.program, host::program_name(on.program));
    let mut owners = owners(id);
    let off = match attach::other_pins(pins, interface, id) {
        Some(pins) => {
            let directory = printable::path(pins.root());
            owners.insert(0, format!("the pins in {directory}"));
            format!("ringfence detach --pin-dir {directory}")
        }
        None => host::detach_command(interface, on),
    };
    Ok(Some(Occupant { id, name, mode: on.mode, own, owners, off }))
}

/// The processes that hold a program, or a link to it, open. /proc says so of each descriptor.
pub(super) fn owners(program: u32) -> Vec<String> {
    let line = format!("prog_id:\t{program}");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let holding = entries.filter(|process| {
        let descriptors = fs::read_dir(process.join("fdinfo")).into_iter().flatten().flatten();
        let mut texts = descriptors.filter_map(|descriptor| fs::read_to_string(descriptor.path()).ok());
        texts.any(|text| text.lines().any(|known| known == line))
    });
    let named = holding.filter_map(|process| {
        let name = fs::read_to_string(process.join("comm")).ok()?;
        Some(format!("{} (process {})", name.trim_end(), process.file_name()?.to_string_lossy()))
    });
    named.collect()
}
