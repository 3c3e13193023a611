//! The host: capabilities, kernel version, interfaces and the XDP programs on them.

use std::{ffi::CString, fs, io};

use aya::{programs::loaded_programs, util::KernelVersion};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, XdpAttached},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::{Error, Mode, error::Context as _};

/// The oldest kernel that the program is tested on.
pub const OLDEST: (u8, u8) = (6, 1);
/// Its name.
pub const OLDEST_NAME: &str = "6.1";

/// Bits of the capability set, `include/uapi/linux/capability.h`.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Checks the requirements of every command that loads programs: kernel version and capabilities.
///
/// # Errors
/// The kernel is too old, or capabilities are missing.
pub fn check() -> Result<(), Error> {
    let minimum = KernelVersion::new(OLDEST.0, OLDEST.1, 0);
    let found = KernelVersion::current().context(|| "read the kernel's version".to_owned())?;
    if found < minimum {
        return Err(Error::KernelTooOld { found: release(), needed: OLDEST_NAME });
    }
    let effective = effective_capabilities().unwrap_or(u64::MAX);
    let has = |capability: u32| effective & (1 << capability) != 0;
    let mut missing = Vec::new();
    if !has(CAP_BPF) && !has(CAP_SYS_ADMIN) {
        missing.push("CAP_BPF");
    }
    if !has(CAP_NET_ADMIN) {
        missing.push("CAP_NET_ADMIN");
    }
    // The verifier would refuse the program's arithmetic on pointers.
    if !has(CAP_PERFMON) && !has(CAP_SYS_ADMIN) {
        missing.push("CAP_PERFMON");
    }
    if missing.is_empty() { Ok(()) } else { Err(Error::NotPermitted(missing)) }
}

fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned())
}

/// The effective capabilities of this process, if /proc can be read.
fn effective_capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// An interface's index in this network namespace.
pub(super) fn interface_index(interface: &str) -> Result<u32, Error> {
    let name = CString::new(interface).map_err(|_| Error::UnknownInterface(interface.to_owned()))?;
    // SAFETY: the name is a zero-terminated string that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(Error::UnknownInterface(interface.to_owned())),
        index => Ok(index),
    }
}

/// Makes sure that packets on an interface have an Ethernet header, which the program begins to read at.
///
/// Without one, the kernel would run the program, which would find nothing that it knows and pass everything.
pub(super) fn ensure_ethernet(interface: &str, index: u32) -> Result<(), Error> {
    let link = link(index).context(|| format!("get the link type of {interface}"))?;
    match link_type(&link) {
        None => Ok(()),
        Some(link_type) => Err(Error::NotEthernet { interface: interface.to_owned(), link_type }),
    }
}

/// What kind of link it is, if it is not Ethernet (`ARPHRD_*`, include/uapi/linux/if_arp.h). Loopback has an Ethernet header.
pub(super) fn link_type(link: &LinkMessage) -> Option<String> {
    let layer = link.header.link_layer_type;
    if matches!(layer, LinkLayerType::Ether | LinkLayerType::Loopback) {
        return None;
    }
    // The driver's name says more: `tun`, `wireguard` and others have the link type "none".
    let kind = link.attributes.iter().find_map(|attribute| {
        let LinkAttribute::LinkInfo(infos) = attribute else { return None };
        infos
            .iter()
            .find_map(|info| if let LinkInfo::Kind(kind) = info { Some(InfoKind::to_string(kind)) } else { None })
    });
    Some(kind.unwrap_or_else(|| layer.to_string().to_lowercase()))
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OnInterface {
    pub(super) program: u32,
    /// None if it is offloaded to the hardware, or if there are several programs.
    pub(super) mode: Option<Mode>,
}

/// The XDP program on an interface, if there is one (`IFLA_XDP`).
#[expect(clippy::wildcard_enum_match_arm, reason = "netlink has attributes and modes that do not matter here")]
pub(super) fn xdp_on(index: u32) -> Result<Option<OnInterface>, Error> {
    let attributes = link(index).context(|| "get the XDP program of the interface".to_owned())?.attributes;
    let mut program = 0;
    let mut attached = XdpAttached::None;
    for attribute in attributes {
        let LinkAttribute::Xdp(attributes) = attribute else { continue };
        for attribute in attributes {
            match attribute {
                LinkXdp::Attached(how) => attached = how,
                // If there are several programs, the kernel lists them by mode.
                LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id)
                    if program == 0 =>
                {
                    program = id;
                }
                _ => {}
            }
        }
    }
    let mode = match attached {
        XdpAttached::None => return Ok(None),
        XdpAttached::Driver => Some(Mode::Native),
        XdpAttached::SocketBuffer => Some(Mode::Generic),
        _ => None,
    };
    Ok(Some(OnInterface { program, mode }))
}

/// Asks rtnetlink about one interface.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other kind of answer is unexpected")]
pub(super) fn link(index: u32) -> io::Result<LinkMessage> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut question = LinkMessage::default();
    question.header.index = index;
    let mut message =
        NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(RouteNetlinkMessage::GetLink(question)));
    message.header.flags = NLM_F_REQUEST;
    message.finalize();
    let mut buffer = vec![0; message.buffer_len()];
    message.serialize(&mut buffer);
    socket.send(&buffer, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    match answer.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Ok(link),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "unexpected answer from rtnetlink")),
    }
}

/// The name of a loaded program.
pub(super) fn program_name(id: u32) -> String {
    loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The command that detaches another program.
pub(super) fn detach_command(interface: &str, on: OnInterface) -> String {
    let link = aya::programs::loaded_links().filter_map(Result::ok).find(|link| link.program_id() == on.program);
    match (link, on.mode) {
        // A program that was attached with a link can only be detached through the link.
        (Some(link), _) => format!("bpftool link detach id {}", link.id()),
        (None, Some(Mode::Generic)) => format!("ip link set dev {interface} xdpgeneric off"),
        (None, _) => format!("ip link set dev {interface} xdp off"),
    }
}

/// The name of the interface with this index in the network namespace of this process.
pub(crate) fn interface_name(index: u32) -> Option<String> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the function requires, and is only read if it has filled it.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    if found.is_null() {
        return None;
    }
    std::ffi::CStr::from_bytes_until_nul(&name).ok().map(|name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_and_has_no_program() {
        let index = interface_index("lo").unwrap();
        assert_eq!(xdp_on(index).unwrap(), None);
    }

    #[test]
    fn only_links_with_an_ethernet_header_are_read() {
        let link = |layer: u16, kind: Option<InfoKind>| {
            let mut link = LinkMessage::default();
            link.header.link_layer_type = LinkLayerType::from(layer);
            link.attributes =
                kind.map(|kind| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])).into_iter().collect();
            link_type(&link)
        };
        assert_eq!(link(1, None), None, "a network card");
        assert_eq!(link(1, Some(InfoKind::Veth)), None);
        assert_eq!(link(1, Some(InfoKind::GreTap)), None, "Ethernet in a tunnel");
        assert_eq!(link(772, None), None, "loopback");
        let named = |layer, kind| link(layer, kind).expect("it is refused");
        assert_eq!(named(0xfffe, Some(InfoKind::Tun)), "tun");
        assert_eq!(named(0xfffe, Some(InfoKind::Wireguard)), "wireguard");
        assert_eq!(named(768, Some(InfoKind::IpIp)), "ipip");
        assert_eq!(named(778, Some(InfoKind::GreTun)), "gre");
        assert_eq!(named(776, Some(InfoKind::SitTun)), "sit");
        assert_eq!(named(512, None), "ppp");
        assert_eq!(named(519, None), "rawip");
    }

    #[test]
    fn an_unknown_interface_is_named() {
        let error = interface_index("no-such-if").unwrap_err();
        assert_eq!(error.to_string(), "no interface named no-such-if");
        assert!(error.help().is_some_and(|help| help.contains("ip -brief link")));
    }
}
