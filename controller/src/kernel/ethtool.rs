//! What `ethtool` shows: an interface's driver, features, channels and how it spreads packets over them.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use netlink_packet_core::{DefaultNla, Emitable as _};
use rustix::net::{AddressFamily, SocketType, socket};

use super::genetlink::{Family, all, find, number, text};

/// Messages and attributes of include/uapi/linux/ethtool_netlink.h.
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_MSG_CHANNELS_GET: u8 = 17;
/// (The header is the first attribute of every message.)
const HEADER: u16 = 1;
const HEADER_DEV_INDEX: u16 = 1;
const FEATURES_HW: u16 = 2;
const FEATURES_ACTIVE: u16 = 4;
const BITSET_BITS: u16 = 3;
const BITSET_BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;
const CHANNELS_RX_MAX: u16 = 2;
const CHANNELS_COMBINED_MAX: u16 = 5;
const CHANNELS_RX_COUNT: u16 = 6;
const CHANNELS_COMBINED_COUNT: u16 = 9;
const NLA_F_NESTED: u16 = 1 << 15;

/// Commands of `SIOCETHTOOL`, include/uapi/linux/ethtool.h.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GRXFH: u32 = 0x29;
const UDP_V4_FLOW: u32 = 0x02;
/// The bits for the two halves of the ports in what packets are spread by.
const RXH_PORTS: u64 = 1 << 6 | 1 << 7;

/// Messages and attributes of include/uapi/linux/netdev.h.
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_XDP_ACT_BASIC: u64 = 1;
const NETDEV_XDP_ACT_RX_SG: u64 = 1 << 5;

/// What a driver can do with XDP programs, as Linux 6.3 and later report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpFeatures {
    /// It runs them: native mode.
    pub native: bool,
    /// Also on packets in several buffers: with a large MTU.
    pub fragments: bool,
}

impl XdpFeatures {
    /// Asks the kernel.
    ///
    /// # Errors
    /// The kernel is older than 6.3, or refuses.
    pub(super) fn read(index: u32) -> io::Result<Self> {
        let index = DefaultNla::new(NETDEV_A_DEV_IFINDEX, index.to_ne_bytes().to_vec());
        let answer = Family::open("netdev")?.ask(NETDEV_CMD_DEV_GET, &[index])?;
        let bits = number(find(&answer, NETDEV_A_DEV_XDP_FEATURES))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no XDP features in the answer"))?;
        Ok(Self { native: bits & NETDEV_XDP_ACT_BASIC != 0, fragments: bits & NETDEV_XDP_ACT_RX_SG != 0 })
    }
}

/// A feature of an interface, such as `rx-lro`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Whether it is on.
    pub on: bool,
    /// Whether `ethtool -K` can change it.
    pub changeable: bool,
}

/// The queues that packets are received from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// How many there are.
    pub count: u64,
    /// How many there could be.
    pub most: u64,
    /// True if each also sends: `ethtool -L` calls these `combined`, and the others `rx`.
    pub combined: bool,
}

/// The two features that stop drivers from running XDP programs: large receive offload, and GRO in hardware.
pub(super) fn receive_offloads(index: u32) -> io::Result<(Option<Feature>, Option<Feature>)> {
    let answer = Family::open("ethtool")?.ask(ETHTOOL_MSG_FEATURES_GET, &[header(index)])?;
    let (active, changeable) = (bits(find(&answer, FEATURES_ACTIVE)), bits(find(&answer, FEATURES_HW)));
    let feature = |name: &str| Feature {
        on: active.iter().any(|known| known == name),
        changeable: changeable.iter().any(|known| known == name),
    };
    Ok((Some(feature("rx-lro")), Some(feature("rx-gro-hw"))))
}

/// The channels; an error if the driver has no notion of them.
pub(super) fn channels(index: u32) -> io::Result<Channels> {
    let answer = Family::open("ethtool")?.ask(ETHTOOL_MSG_CHANNELS_GET, &[header(index)])?;
    let get = |kind| number(find(&answer, kind)).unwrap_or(0);
    let combined = get(CHANNELS_COMBINED_COUNT);
    Ok(if combined > 0 {
        Channels { count: combined, most: get(CHANNELS_COMBINED_MAX), combined: true }
    } else {
        Channels { count: get(CHANNELS_RX_COUNT), most: get(CHANNELS_RX_MAX), combined: false }
    })
}

/// The header of a message: which interface it is about.
fn header(index: u32) -> DefaultNla {
    let index = DefaultNla::new(HEADER_DEV_INDEX, index.to_ne_bytes().to_vec());
    let mut value = vec![0; index.buffer_len()];
    index.emit(&mut value);
    DefaultNla::new(HEADER | NLA_F_NESTED, value)
}

/// The names of the bits that are set: with a mask, those that have a value; without one, all that are listed.
fn bits(bitset: Option<&[u8]>) -> Vec<String> {
    const NOMASK: u16 = 1;
    let Some(bitset) = bitset else { return Vec::new() };
    let masked = find(bitset, NOMASK).is_none();
    let bits = find(bitset, BITSET_BITS).into_iter().flat_map(|bits| all(bits, BITSET_BIT));
    bits.filter(|bit| !masked || find(bit, BIT_VALUE).is_some()).filter_map(|bit| text(find(bit, BIT_NAME))).collect()
}

/// The name of an interface's driver, such as `ixgbe` or `veth`.
pub(super) fn driver(interface: &str) -> io::Result<String> {
    let mut answer = Buffer::new(ETHTOOL_GDRVINFO, 0);
    answer.fill(interface)?;
    // struct ethtool_drvinfo: the command, then the driver's name in 32 bytes.
    let bytes = answer.bytes();
    let name = &bytes[4..36];
    Ok(String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned())
}

/// Whether UDP packets are spread over the channels by their ports, too, not by their addresses alone.
pub(super) fn spreads_by_ports(interface: &str) -> io::Result<bool> {
    let mut answer = Buffer::new(ETHTOOL_GRXFH, UDP_V4_FLOW);
    answer.fill(interface)?;
    // struct ethtool_rxnfc: the command, the kind of flow, then what it is spread by.
    Ok(answer.0[1] & RXH_PORTS == RXH_PORTS)
}

/// Room for every structure of `SIOCETHTOOL` that is used here; the largest one, `struct ethtool_rxnfc`, has 192 bytes.
struct Buffer([u64; 32]);

impl Buffer {
    fn new(command: u32, argument: u32) -> Self {
        let [a, b, c, d] = command.to_ne_bytes();
        let [e, f, g, h] = argument.to_ne_bytes();
        let mut words = [0; 32];
        words[0] = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        Self(words)
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// Lets the kernel fill it.
    fn fill(&mut self, interface: &str) -> io::Result<()> {
        let socket: OwnedFd = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        let mut name = [0; libc::IFNAMSIZ];
        for (to, from) in name.iter_mut().zip(interface.bytes().take(libc::IFNAMSIZ - 1)) {
            *to = from as libc::c_char;
        }
        let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_data: self.0.as_mut_ptr().cast() };
        let mut request = libc::ifreq { ifr_name: name, ifr_ifru };
        // SAFETY: the name ends with a zero, and the pointer is to a buffer that outlives the call and is larger than the structures of
        // the two commands that this module gives to `new`; any bytes are a valid value of it.
        match unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
