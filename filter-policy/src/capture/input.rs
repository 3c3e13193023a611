//! The bytes of a capture: a file or standard input, unpacked while it is read if it is compressed.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use super::CaptureError;

/// The most that zstd may look back, and so the memory that unpacking takes: what `zstd -d` allows by default.
const MAX_WINDOW: u64 = 128 << 20;

/// How a capture's path names standard input.
const STANDARD_INPUT: &str = "-";

/// The name of a capture in messages.
pub(super) fn name(path: &Path) -> String {
    if path == Path::new(STANDARD_INPUT) { "standard input".to_owned() } else { path.display().to_string() }
}

/// Reads what a capture holds. Nothing of it stays in memory but what the decoder must look back on.
pub(super) struct Input {
    unpacked: Box<dyn Read + Send>,
    /// The method by which it is compressed.
    method: Option<&'static str>,
    /// How to get at the content without us.
    unpack: &'static str,
    progress: Progress,
    name: String,
}

/// What is known of an input while a parser owns it.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<Shared>);

#[derive(Default)]
struct Shared {
    read: AtomicU64,
    /// Why the file itself could not be read.
    failure: Mutex<Option<io::Error>>,
    /// Why reading what it holds failed.
    error: Mutex<Option<CaptureError>>,
}

impl Progress {
    /// How many bytes of the file have been read.
    pub(super) fn position(&self) -> u64 {
        self.0.read.load(Ordering::Relaxed)
    }

    /// Why reading failed. The parser of captures says only that it did.
    pub(super) fn error(&self) -> Option<CaptureError> {
        take(&self.0.error)
    }
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
}

fn put<T>(place: &Mutex<Option<T>>, value: T) {
    *place.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(value);
}

impl Input {
    /// Opens a capture. The first bytes say whether it is compressed, not the name.
    pub(super) fn open(path: &Path) -> Result<Self, CaptureError> {
        let io = |source| CaptureError::Io { file: name(path), source };
        let opened: Box<dyn Read + Send> = if path == Path::new(STANDARD_INPUT) {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).map_err(io)?)
        };
        let progress = Progress::default();
        let mut raw = Counted { inner: opened, progress: progress.clone() };
        let mut magic = Vec::new();
        raw.by_ref().take(4).read_to_end(&mut magic).map_err(io)?;
        let (method, unpack) = match &magic[..] {
            [0x1f, 0x8b, 8, ..] => (Some("gzip"), "zcat"),
            // A frame of zstd, or one that decoders skip, as `pzstd` writes it first.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => (Some("zstd"), "zstdcat"),
            _ => (None, "cat"),
        };
        let raw = Cursor::new(magic).chain(raw);
        let unpacked: Box<dyn Read + Send> = match method {
            Some("gzip") => Box::new(MultiGzDecoder::new(BufReader::new(raw))),
            Some(_) => Box::new(Zstd::new(BufReader::new(raw))),
            None => Box::new(raw),
        };
        Ok(Self { unpacked, method, unpack, progress, name: name(path) })
    }

    /// What is known of it, also after the parser has taken it.
    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Its first bytes, or all of it if it is shorter.
    pub(super) fn start(&mut self, length: u64) -> Result<Vec<u8>, CaptureError> {
        let mut start = Vec::new();
        match self.by_ref().take(length).read_to_end(&mut start) {
            // What comes before the damage is read first: the next read reports it again.
            Err(_) if !start.is_empty() => Ok(start),
            Err(source) => {
                let file = self.name.clone();
                Err(self.progress.error().unwrap_or(CaptureError::Io { file, source }))
            }
            Ok(_) => Ok(start),
        }
    }

    /// Why reading failed: the file, or what it holds.
    fn explain(&self, error: &io::Error) -> CaptureError {
        let file = self.name.clone();
        let Some(method) = self.method else {
            return CaptureError::Io { file, source: copy(error) };
        };
        if let Some(source) = take(&self.progress.0.failure) {
            return CaptureError::Io { file, source };
        }
        let (what, help) = if is_too_large(error) {
            let most = MAX_WINDOW >> 20;
            let what = format!("unpacking it takes more than {most} MiB of memory");
            (what, "unpack it before: `zstd -dc --long=31 FILE | ringfence replay -`".to_owned())
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            let what = "the compressed data ends too early".to_owned();
            (what, "copy it again, or wait until it is written to its end".to_owned())
        } else {
            let what = format!("the compressed data is damaged: {error}");
            (what, format!("copy it again; `{} FILE > capture.pcap` shows what can be saved", self.unpack))
        };
        CaptureError::Compressed { file, method, what, help }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.unpacked.read(buffer).inspect_err(|error| put(&self.progress.0.error, self.explain(error)))
    }
}

/// An error of the same kind and text.
fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

/// Counts what is read, and keeps the error of the file apart from those of its content.
struct Counted {
    inner: Box<dyn Read + Send>,
    progress: Progress,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Ok(read) => {
                    self.progress.0.read.fetch_add(read as u64, Ordering::Relaxed);
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    put(&self.progress.0.failure, copy(&error));
                    return Err(error);
                }
            }
        }
    }
}

/// All frames of a zstd file, one after the other.
struct Zstd<R> {
    source: BufReader<R>,
    decoder: FrameDecoder,
    is_in_frame: bool,
}

impl<R: Read> Zstd<R> {
    fn new(source: BufReader<R>) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self { source, decoder, is_in_frame: false }
    }

    /// Begins the next frame. False at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        use std::io::BufRead as _;
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut self.source.by_ref().take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(broken(error)),
            }
        }
    }

    fn end_frame(&self) -> io::Result<()> {
        match self.decoder.get_checksum_from_data() {
            Some(sum) if Some(sum) != self.decoder.get_calculated_checksum() => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.is_in_frame {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.is_in_frame = true;
            }
            // One block at a time: a block holds at most 128 KiB, however little of the file it takes.
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1)).map_err(broken)?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            self.end_frame()?;
            self.is_in_frame = false;
        }
    }
}

/// The decoder's error, with the kind of the one at its root: it hides that the file has ended.
fn broken(error: FrameDecoderError) -> io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return copy(io);
        }
        cause = error.source();
    }
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// True if a frame asks for too large a window.
fn is_too_large(error: &io::Error) -> bool {
    let decoder = error.get_ref().and_then(|error| error.downcast_ref());
    decoder.is_some_and(|error| matches!(error, FrameDecoderError::WindowSizeTooBig { .. }))
}
