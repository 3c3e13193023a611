//! A map whose values are read and written with the shared layouts.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use aya::maps::{Map, MapData, MapError, MapInfo, MapType};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Error, bpf, error::Context as _};

/// The most values in one batch command. The kernel copies keys and values one by one anyway; this only limits our own
/// copies.
const BATCH: usize = 16 * 1024;

/// Entries of a hash map that are read at a time.
const ENTRIES: usize = 4096;

/// A map. Most have indexes for keys: arrays and per-CPU arrays.
#[derive(Debug)]
pub struct Table {
    name: String,
    data: MapData,
    shape: Shape,
    is_mapped: bool,
}

/// The properties that must match when a pinned map is adopted.
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

    /// Opens a pinned map.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let data = MapData::from_pin(path).context(|| format!("open the pinned map {}", path.display()))?;
        Self::new(&name, data)
    }

    /// A new pinned array that only user space uses.
    pub(super) fn create_pinned(path: &Path, value_size: usize, max_entries: usize) -> Result<Self, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let table = Self::create(&name, value_size, max_entries, 0)?;
        bpf::pin(table.fd(), path).context(|| format!("pin the map {}", path.display()))?;
        Ok(table)
    }

    /// The same, not pinned yet.
    pub(super) fn create_unpinned(name: &str, value_size: usize, max_entries: usize) -> Result<Self, Error> {
        Self::create(name, value_size, max_entries, 0)
    }

    /// A new array that [`Self::fill`] writes through mapped memory. That takes a tenth of the time of a batch command,
    /// which copies and checks each value on its own. To a program it is an ordinary array.
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

    /// The number of values, which is one more than the highest index.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.shape.max_entries
    }

    /// True for a map without values, which cannot exist.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at an index. For per-CPU arrays, use [`Self::per_cpu`].
    ///
    /// # Errors
    /// The index is out of bounds, or the values are not as large as `V`.
    pub fn get<V: FromBytes + IntoBytes>(&self, index: u32) -> Result<V, Error> {
        self.ensure_type(MapType::Array, size_of::<V>())?;
        let mut value = V::new_zeroed();
        // SAFETY: an array's key is four bytes, and the value's size was just compared.
        unsafe { bpf::lookup(self.fd(), &index.to_ne_bytes(), value.as_mut_bytes()) }
            .context(|| format!("read {}[{index}]", self.name))?;
        Ok(value)
    }

    /// The bytes at an index, whatever their size: for values that another version may have written.
    pub(super) fn bytes(&self, index: u32) -> Result<Vec<u8>, Error> {
        self.ensure_type(MapType::Array, self.shape.value_size as usize)?;
        let mut value = vec![0; self.shape.value_size as usize];
        // SAFETY: an array's key is four bytes, and the buffer has the size of the map's values.
        unsafe { bpf::lookup(self.fd(), &index.to_ne_bytes(), &mut value) }
            .context(|| format!("read {}[{index}]", self.name))?;
        Ok(value)
    }

    /// Writes the value at an index.
    ///
    /// # Errors
    /// The index is out of bounds, the map is frozen, or the values are not as large as `V`.
    pub fn set<V: IntoBytes + Immutable>(&self, index: u32, value: &V) -> Result<(), Error> {
        self.ensure_type(MapType::Array, size_of::<V>())?;
        // SAFETY: an array's key is four bytes, and the value's size was just compared.
        unsafe { bpf::update(self.fd(), &index.to_ne_bytes(), value.as_bytes()) }
            .context(|| format!("write {}[{index}]", self.name))
    }

    /// The values of all possible CPUs at an index.
    ///
    /// # Errors
    /// The index is out of bounds, or the values are not as large as `V`.
    pub fn per_cpu<V: FromBytes>(&self, index: u32) -> Result<Vec<V>, Error> {
        self.ensure_type(MapType::PerCpuArray, size_of::<V>())?;
        let stride = size_of::<V>().next_multiple_of(8);
        let mut bytes = vec![0; stride * possible_cpus()?];
        // SAFETY: an array's key is four bytes, and there is room for a padded value of each possible CPU.
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
        self.ensure_type(MapType::PerCpuArray, self.shape.value_size as usize)?;
        let bytes = vec![0; (self.shape.value_size as usize).next_multiple_of(8) * possible_cpus()?];
        // SAFETY: an array's key is four bytes, and there is a padded value for each possible CPU.
        unsafe { bpf::update(self.fd(), &index.to_ne_bytes(), &bytes) }
            .context(|| format!("clear {}[{index}]", self.name))
    }

    /// Writes the first values of an array.
    ///
    /// # Errors
    /// There are more values than the map can hold, or its values are not as large as `V`.
    pub(super) fn fill<V: IntoBytes + Immutable>(&self, values: &[V]) -> Result<(), Error> {
        self.ensure_type(MapType::Array, size_of::<V>())?;
        if values.len() > self.len() as usize {
            return Err(Error::Internal(format!("{} values do not fit into {}", values.len(), self.name)));
        }
        if values.is_empty() {
            return Ok(());
        }
        if self.is_mapped {
            return self.fill_mapped(values).context(|| format!("fill {}", self.name));
        }
        // The kernel stores array values at multiples of eight bytes, but takes them densely packed.
        let batch = (BATCH / (size_of::<V>() / 64 + 1)).max(1);
        let mut first = 0u32;
        for chunk in values.chunks(batch) {
            let count = chunk.len() as u32;
            let keys: Vec<u32> = (first..first + count).collect();
            // SAFETY: there are `count` keys of four bytes and `count` values of the map's size.
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
        // The kernel stores array values at multiples of eight bytes.
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

    /// Hands each key and value of a hash map to `visit`. The program may change the map meanwhile: an entry that it adds or evicts may
    /// be missing or there.
    pub(super) fn each(&self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<(), Error> {
        let Shape { key_size, value_size, .. } = self.shape;
        self.ensure_entries(key_size as usize, value_size as usize)?;
        if key_size < 4 || value_size == 0 {
            return Err(Error::Internal(format!("map {} has entries that are too small", self.name)));
        }
        let mut keys = vec![0; ENTRIES * key_size as usize];
        let mut values = vec![0; ENTRIES * value_size as usize];
        let mut position = None;
        loop {
            // SAFETY: there is room for that many keys and values of this map, and its keys have at least four bytes.
            let batch = unsafe { bpf::lookup_batch(self.fd(), position, &mut keys, &mut values, ENTRIES as u32) };
            let (count, next) = batch.context(|| format!("read {}", self.name))?;
            let entries = keys.chunks_exact(key_size as usize).zip(values.chunks_exact(value_size as usize));
            entries.take(count).for_each(|(key, value)| visit(key, value));
            if next.is_none() {
                return Ok(());
            }
            position = next;
        }
    }

    /// Checks that this is a hash map whose keys and values have these sizes.
    pub(super) fn ensure_hash(&self, key_size: usize, value_size: usize) -> Result<(), Error> {
        let Shape { kind, key_size: real_key, value_size: real_value, .. } = self.shape;
        let is_hash = matches!(kind, MapType::Hash | MapType::LruHash);
        if is_hash && (real_key as usize, real_value as usize) == (key_size, value_size) {
            Ok(())
        } else {
            Err(Error::Internal(format!(
                "map {} is {kind:?} with keys of {real_key} bytes and values of {real_value}, expected a hash map of {key_size} and \
                 {value_size}",
                self.name
            )))
        }
    }

    /// Checks that this is a map whose entries [`Self::each`] can visit, and that its keys and values have these sizes.
    pub(super) fn ensure_entries(&self, key_size: usize, value_size: usize) -> Result<(), Error> {
        if self.shape.kind == MapType::Array && key_size == 4 {
            return self.ensure_type(MapType::Array, value_size);
        }
        self.ensure_hash(key_size, value_size)
    }

    fn ensure_type(&self, kind: MapType, value_size: usize) -> Result<(), Error> {
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

/// The map inside aya's enum, for the types of maps that the program has.
#[expect(clippy::wildcard_enum_match_arm, reason = "the program has no maps of other types")]
pub(super) fn data_of(map: Map) -> Option<MapData> {
    match map {
        Map::Array(data)
        | Map::PerfEventArray(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::PerCpuLruHashMap(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}

/// The number of values in a per-CPU map: one for each possible CPU, not only for those online.
pub(super) fn possible_cpus() -> Result<usize, Error> {
    aya::util::nr_cpus().map_err(|(path, error)| Error::System { doing: format!("read {path}"), cause: error.into() })
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP))
}

/// The kernel's error if a map has no batch commands. The C library does not define it.
const ENOTSUPP: i32 = 524;
