//! A map by name, its values read and written as bytes of the shared layouts.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use aya::maps::{Map, MapData, MapError, MapInfo, MapType};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Error, bpf, error::Context as _};

/// Values written by one batch command: the kernel copies keys and values one by one anyway, this only bounds our copies.
const BATCH: usize = 16 * 1024;

/// A map whose keys are indexes: an array, or an array a CPU.
#[derive(Debug)]
pub struct Table {
    name: String,
    data: MapData,
    shape: Shape,
    is_mapped: bool,
}

/// What must agree when a map is adopted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shape {
    pub(super) kind: MapType,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
}

impl Shape {
    fn of(info: &MapInfo) -> Result<Self, MapError> {
        Ok(Self {
            kind: info.map_type()?,
            key_size: info.key_size(),
            value_size: info.value_size(),
            max_entries: info.max_entries(),
        })
    }
}

impl Table {
    /// A map of a loaded object.
    pub(super) fn from_map(name: &str, map: Map) -> Result<Self, Error> {
        Self::new(name, data_of(map).ok_or_else(|| Error::Internal(format!("map {name} has an unexpected type")))?)
    }

    /// A pinned map.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let data = MapData::from_pin(path).context(|| format!("open the pinned map {}", path.display()))?;
        Self::new(&name, data)
    }

    /// A new array for user space alone, pinned.
    pub(super) fn create_pinned(path: &Path, value_size: usize, max_entries: usize) -> Result<Self, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let table = Self::create(&name, value_size, max_entries, 0)?;
        bpf::pin(table.fd(), path).context(|| format!("pin the map {}", path.display()))?;
        Ok(table)
    }

    /// A new array that [`Self::fill`] writes through memory: a million values in a tenth of the time that a batch command
    /// takes, which copies and checks each by itself. To a program it is an array like any other.
    pub(super) fn create_mapped(name: &str, value_size: usize, max_entries: usize) -> Result<Self, Error> {
        Self::create(name, value_size, max_entries, bpf::MMAPABLE)
    }

    fn create(name: &str, value_size: usize, max_entries: usize, flags: u32) -> Result<Self, Error> {
        let [value_size, entries] = [value_size, max_entries].map(u32::try_from);
        let (Ok(value_size), Ok(entries)) = (value_size, entries) else {
            return Err(Error::Internal(format!("too many entries for {name}")));
        };
        let fd: OwnedFd =
            bpf::create_array(name, value_size, entries, flags).context(|| format!("create the map {name}"))?;
        Self::new(name, MapData::from_fd(fd).context(|| format!("read the properties of the map {name}"))?)
    }

    fn new(name: &str, data: MapData) -> Result<Self, Error> {
        let properties = || format!("read the properties of the map {name}");
        let info = data.info().context(properties)?;
        let shape = Shape::of(&info).context(properties)?;
        let is_mapped = info.map_flags() & bpf::MMAPABLE != 0;
        Ok(Self { name: name.to_owned(), data, shape, is_mapped })
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.data.fd().as_fd()
    }

    /// How many values it holds.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.shape.max_entries
    }

    /// True for a map without values, which the kernel does not make.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at an index (of the CPU this runs on first, for an array a CPU: use [`Self::per_cpu`] there).
    ///
    /// # Errors
    /// The index is out of bounds, or the value has another size than `V`.
    pub fn get<V: FromBytes + IntoBytes>(&self, index: u32) -> Result<V, Error> {
        self.must_be(MapType::Array, size_of::<V>())?;
        let mut value = V::new_zeroed();
        // SAFETY: an array's key is four bytes, and the value's size was just compared.
        unsafe { bpf::lookup(self.fd(), &index.to_ne_bytes(), value.as_mut_bytes()) }
            .context(|| format!("read {}[{index}]", self.name))?;
        Ok(value)
    }

    /// The bytes at an index of an array of whatever size; for values whose layout another version may have written.
    pub(super) fn bytes(&self, index: u32) -> Result<Vec<u8>, Error> {
        self.must_be(MapType::Array, self.shape.value_size as usize)?;
        let mut value = vec![0; self.shape.value_size as usize];
        // SAFETY: an array's key is four bytes, and the buffer has the size of the map's values.
        unsafe { bpf::lookup(self.fd(), &index.to_ne_bytes(), &mut value) }
            .context(|| format!("read {}[{index}]", self.name))?;
        Ok(value)
    }

    /// Writes the value at an index.
    ///
    /// # Errors
    /// The index is out of bounds, the map is frozen, or the value has another size than `V`.
    pub fn set<V: IntoBytes + Immutable>(&self, index: u32, value: &V) -> Result<(), Error> {
        self.must_be(MapType::Array, size_of::<V>())?;
        // SAFETY: an array's key is four bytes, and the value's size was just compared.
        unsafe { bpf::update(self.fd(), &index.to_ne_bytes(), value.as_bytes()) }
            .context(|| format!("write {}[{index}]", self.name))
    }

    /// The values of all possible CPUs at an index.
    ///
    /// # Errors
    /// The index is out of bounds, or the value has another size than `V`.
    pub fn per_cpu<V: FromBytes>(&self, index: u32) -> Result<Vec<V>, Error> {
        self.must_be(MapType::PerCpuArray, size_of::<V>())?;
        let stride = size_of::<V>().next_multiple_of(8);
        let mut bytes = vec![0; stride * possible_cpus()?];
        // SAFETY: an array's key is four bytes, and there is room for a rounded value of each possible CPU.
        unsafe { bpf::lookup(self.fd(), &index.to_ne_bytes(), &mut bytes) }
            .context(|| format!("read {}[{index}]", self.name))?;
        bytes
            .chunks_exact(stride)
            .map(|chunk| {
                V::read_from_prefix(chunk)
                    .map(|(value, _)| value)
                    .map_err(|_| Error::Internal(format!("value of {} is too short", self.name)))
            })
            .collect()
    }

    /// Sets the values of all CPUs at an index to zero.
    ///
    /// # Errors
    /// The index is out of bounds.
    pub fn clear_per_cpu(&self, index: u32) -> Result<(), Error> {
        self.must_be(MapType::PerCpuArray, self.shape.value_size as usize)?;
        let bytes = vec![0; (self.shape.value_size as usize).next_multiple_of(8) * possible_cpus()?];
        // SAFETY: an array's key is four bytes, and there is a rounded value for each possible CPU.
        unsafe { bpf::update(self.fd(), &index.to_ne_bytes(), &bytes) }
            .context(|| format!("clear {}[{index}]", self.name))
    }

    /// Writes an array from index 0 on.
    ///
    /// # Errors
    /// More values than the map has room for, or values of another size than `V`.
    pub(super) fn fill<V: IntoBytes + Immutable>(&self, values: &[V]) -> Result<(), Error> {
        self.must_be(MapType::Array, size_of::<V>())?;
        if values.len() > self.len() as usize {
            return Err(Error::Internal(format!("{} values do not fit into {}", values.len(), self.name)));
        }
        if values.is_empty() {
            return Ok(());
        }
        if self.is_mapped {
            return self.fill_mapped(values).context(|| format!("fill {}", self.name));
        }
        // The kernel keeps array values at a distance of a multiple of eight, but takes them densely packed.
        let batch = (BATCH / (size_of::<V>() / 64 + 1)).max(1);
        let mut first = 0u32;
        for chunk in values.chunks(batch) {
            let count = chunk.len() as u32;
            let keys: Vec<u32> = (first..first + count).collect();
            // SAFETY: as many keys of four bytes and values of the map's size as `count` says.
            let written = unsafe { bpf::update_batch(self.fd(), keys.as_bytes(), chunk.as_bytes(), count) };
            match written {
                Ok(()) => {}
                Err(error) if is_unsupported(&error) => {
                    for (index, value) in (first..).zip(chunk) {
                        self.set(index, value)?;
                    }
                }
                Err(error) => return Err(error).context(|| format!("fill {}", self.name)),
            }
            first += count;
        }
        Ok(())
    }

    fn fill_mapped<V: IntoBytes + Immutable>(&self, values: &[V]) -> io::Result<()> {
        // The kernel keeps array values at a distance of a multiple of eight.
        let distance = size_of::<V>().next_multiple_of(8);
        let mut mapping = bpf::Mapping::new(self.fd(), values.len() * distance)?;
        if distance == size_of::<V>() {
            mapping.write(0, values.as_bytes());
        } else {
            for (index, value) in values.iter().enumerate() {
                mapping.write(index * distance, value.as_bytes());
            }
        }
        Ok(())
    }

    fn must_be(&self, kind: MapType, value_size: usize) -> Result<(), Error> {
        let Shape { kind: real, key_size, value_size: real_size, .. } = self.shape;
        if real == kind && key_size == 4 && real_size as usize == value_size {
            Ok(())
        } else {
            Err(Error::Internal(format!(
                "map {} is {real:?} of {real_size}-byte values, expected {kind:?} of {value_size}",
                self.name
            )))
        }
    }
}

/// The map inside aya's enum, for the kinds of maps the program has.
pub(super) fn data_of(map: Map) -> Option<MapData> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::PerCpuLruHashMap(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}

/// How many CPUs a value a CPU has: the possible ones, not the ones online.
pub(super) fn possible_cpus() -> Result<usize, Error> {
    aya::util::nr_cpus().map_err(|(path, error)| Error::System { doing: format!("read {path}"), source: error.into() })
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP))
}

/// What the kernel answers where a map has no batch commands; not among the C library's errors.
const ENOTSUPP: i32 = 524;
