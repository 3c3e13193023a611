//! The engine's host in the kernel.

use core::{
    ffi::c_void,
    mem::{offset_of, size_of},
};

use aya_ebpf::{
    bindings::xdp_md,
    helpers::{
        bpf_get_prandom_u32, bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_loop, bpf_perf_event_output,
        bpf_ringbuf_output, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
    },
    maps::{LruHashMap, RingBuf},
    programs::XdpContext,
};
use filter_core::{
    event::FillEvent,
    find::{self, Find, NeedleKind},
    hash::HashText,
    header::ReadNamedHeader,
    headers::NoteOpenPairs,
    host::{Function, FunctionKind, Host, Step, Words},
    identity::ReadIdentity,
    layout::{
        Ban, BanKey, BanLengths, Config, Counter, Dfa, Event, FlowKey, FragmentKey, InterfaceCounts, Node, NumberClass,
        Observation, Observed, ROOT_PIECE_BITS, Remembered, Rule, RuleSet, Trie, entered,
    },
    limits::{BUFFER_LENGTH, INSPECTED_LENGTH, INTERFACE_SLOTS, REPORTED_BYTES},
    message::{NoteFold, ReadColon, ReadHeaders},
    numbers::SetNumber,
    observe::{Draw, Observe},
    packet::MAX_HEADER_OFFSET,
    rate::{CountKnown, CountNew, FindCall, IsOver, NoteCall, NoteKey},
    scratch::Scratch,
    start_line::{FindMark, FindMethod, FindRequest, ReadOverLineEnds, ReadStartLine, ReadStatusLine},
    text::{NarrowTexts, TryPlaces},
    trie::Tables,
    uri::{
        FindParameter, JoinContext, NoteEnd, ReadCommonUri, ReadName, ReadNumber, ReadScheme, ReadUri, ReadUser,
        TrimTel,
    },
};

use crate::maps::{
    ADDRESS_CLASSES, BAN_LENGTHS, BANS, CAPTURES, DFAS, EVENTS, FLOWS, FRAGMENTS, LEAVES, NODES, NUMBER_CLASSES,
    OBSERVATION, OBSERVED, RATES, REASON_COUNTERS, ROOTS, ROWS, RULE_COUNTERS, RULES, SAMPLES, config,
};

/// `BPF_F_CURRENT_CPU` of include/uapi/linux/bpf.h: the perf event of the CPU that the program runs on.
const CURRENT_CPU: u64 = 0xffff_ffff;

/// A packet in the driver, and the maps.
#[derive(Clone, Copy)]
pub struct Kernel {
    context: *mut xdp_md,
}

impl Kernel {
    /// For code that does not read the packet.
    const WITHOUT_PACKET: Self = Self { context: core::ptr::null_mut() };

    #[inline(always)]
    pub fn new(context: &XdpContext) -> Self {
        Self { context: context.ctx }
    }

    /// `N` bytes of the packet at `offset`, which the verifier must know to be small.
    #[inline(always)]
    fn packet_bytes<const N: usize>(self, offset: usize) -> Option<&'static [u8; N]> {
        // SAFETY: the context is this run's. The verifier makes sure that the fields are used as the packet's bounds.
        let (start, end) = unsafe { ((*self.context).data as usize, (*self.context).data_end as usize) };
        let at = start + offset;
        // Only the first buffer of a multi-buffer packet is read: drivers put kilobytes into it, and headers are short.
        if at + N > end {
            return None;
        }
        // SAFETY: no packet is at address 0. (Otherwise LLVM would check whether this is `None`.)
        unsafe { core::hint::assert_unchecked(at != 0) };
        // SAFETY: `N` bytes from `at` on are within the packet's first buffer, which exists and is not written to while the program
        // runs. Bytes have no alignment.
        Some(unsafe { &*(at as *const [u8; N]) })
    }
}

/// Masks a value in a way that LLVM cannot remove. It would remove a mask if it has proved the bound by means that the verifier
/// does not follow. Kernels before 6.18 accept a variable offset or length only with such a mask.
macro_rules! masked {
    ($value:expr, $mask:literal) => {{
        let mut value: u64 = $value as u64;
        // SAFETY: changes nothing but its register.
        unsafe { core::arch::asm!(concat!("{0} &= ", $mask), inout(reg) value, options(pure, nomem, nostack)) };
        value
    }};
}

impl Kernel {
    /// Writes the event into a ring, and the packet after it if it is not too long. False if the ring has no room.
    #[inline(always)]
    fn report(self, ring: &'static RingBuf, scratch: &mut Scratch) -> bool {
        let length = scratch.packet.length;
        // Both are made of the whole, since the helper reads from one into the other.
        let whole = (&raw mut *scratch).cast::<c_void>();
        let (event, frame) = (whole.wrapping_byte_add(EVENT), whole.wrapping_byte_add(FRAME));
        let mut size = size_of::<Event>() as u64;
        if length != 0 && length as usize <= REPORTED_BYTES {
            let length = masked!(length - 1, "8191") + 1;
            // SAFETY: `frame` points to the REPORTED_BYTES bytes of this field, and `length` is no more. The helper checks the packet's
            // bounds.
            if unsafe { bpf_xdp_load_bytes(self.context, 0, frame, length as u32) } == 0 {
                size += length;
            }
        }
        // SAFETY: the map is a ring buffer. The helper reads `size` bytes from `event` on: the event, and no more than the frame, which
        // begins where the event ends. Both are in the scratch memory, to which this has the only reference, and which `event` was
        // made of.
        let status = unsafe { bpf_ringbuf_output((&raw const *ring).cast_mut().cast::<c_void>(), event, size, 0) };
        status == 0
    }

    /// Writes an entry of a table; a full one evicts that used longest ago. Counts the entry if there was none with the key: the kernel
    /// does not say what it evicts, but whoever knows what was entered and what is there knows how much that was.
    #[inline(always)]
    fn enter<K, V>(self, map: &LruHashMap<K, V>, table: usize, key: &K, value: &V) {
        if map.insert(key, value, NOEXIST).is_ok() {
            self.count_observed(|observed| observed.entered[table] += 1);
        } else {
            // If this fails too, the packets that it is for are judged without it.
            let _ = map.insert(key, value, 0);
        }
    }
}

/// `BPF_NOEXIST` of include/uapi/linux/bpf.h.
const NOEXIST: u64 = 1;

/// Where the event is in the scratch memory, and the frame.
const EVENT: usize = offset_of!(Scratch, event);
const FRAME: usize = offset_of!(Scratch, frame);

const _: () = assert!(EVENT + size_of::<Event>() == FRAME && size_of::<Scratch>() >= FRAME + REPORTED_BYTES);

const _: () = assert!(MAX_HEADER_OFFSET == 2047 && BUFFER_LENGTH == 16384 && REPORTED_BYTES == 8192);

impl Tables for Kernel {
    #[inline(always)]
    fn root(&self, trie: Trie, index: usize) -> u32 {
        match ROOTS.get(trie.root_piece() + (index >> ROOT_PIECE_BITS) as u32) {
            Some(piece) => piece[index & ((1 << ROOT_PIECE_BITS) - 1)],
            None => 0,
        }
    }

    #[inline(always)]
    fn node(&self, index: u32) -> Option<&Node> {
        NODES.get(index)
    }

    #[inline(always)]
    fn bound(&self, times: u32) -> u32 {
        unknown(times)
    }

    #[inline(always)]
    fn leaf(&self, index: u32) -> Option<u32> {
        LEAVES.get(index).copied()
    }
}

/// A bucket of the table of limits. All CPUs change its words, so there are no references to it. (The target has no atomic types.)
#[derive(Clone, Copy)]
pub struct Bucket(*mut u64);

impl Bucket {
    #[inline(always)]
    fn word(self, index: usize) -> *mut u64 {
        // SAFETY: indexes are below BUCKET_WORDS, which the verifier makes sure of.
        unsafe { self.0.add(index) }
    }
}

impl Words for Bucket {
    #[inline(always)]
    fn get(self, index: usize) -> u64 {
        // SAFETY: the word is in the map and aligned, and loads of eight bytes are not torn.
        unsafe { self.word(index).read_volatile() }
    }

    #[inline(always)]
    fn put(self, index: usize, value: u64) {
        let mut value = value;
        // SAFETY: the word is in the map and aligned. The instruction orders all accesses before and after it.
        unsafe {
            core::arch::asm!("{0} = xchg_64({1} + 0, {0})", inout(reg) value, in(reg) self.word(index), options(nostack));
        }
        let _ = value;
    }

    #[inline(always)]
    fn exchange(self, index: usize, old: u64, new: u64) -> bool {
        let mut seen = old;
        // SAFETY: as above.
        unsafe {
            core::arch::asm!(
                "r0 = cmpxchg_64({0} + 0, r0, {1})",
                in(reg) self.word(index),
                in(reg) new,
                inout("r0") seen,
                options(nostack),
            );
        }
        seen == old
    }
}

impl Host<'static> for Kernel {
    type Words = Bucket;

    #[inline(always)]
    fn config(self) -> &'static Config {
        config()
    }

    #[inline(always)]
    fn masked<const MASK: u32>(self, value: u32) -> usize {
        let mut value = value as u64;
        // SAFETY: changes nothing but its register.
        unsafe { core::arch::asm!("{0} &= {1}", inout(reg) value, const MASK, options(pure, nomem, nostack)) };
        // SAFETY: the instruction above guarantees it. LLVM does not look into it, and would keep the bounds check and its panic.
        unsafe { core::hint::assert_unchecked(value <= MASK as u64) };
        value as usize
    }

    #[inline(always)]
    fn now(self) -> u64 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn tick(self) -> u64 {
        // The coarse clock moves with the jiffies. The kernel replaces this call by a load.
        // SAFETY: a helper without arguments.
        unsafe { bpf_jiffies64() }
    }

    #[inline(always)]
    fn packet_length(self) -> u32 {
        // SAFETY: the context is this run's.
        unsafe { bpf_xdp_get_buff_len(self.context) as u32 }
    }

    #[inline(always)]
    fn load<const N: usize>(self, offset: u32) -> Option<&'static [u8; N]> {
        self.packet_bytes(masked!(offset, "2047") as usize)
    }

    #[inline(always)]
    fn load_start<const N: usize>(self) -> Option<&'static [u8; N]> {
        self.packet_bytes(0)
    }

    #[inline(always)]
    fn copy_message(self, scratch: &mut Scratch, offset: u32, length: u32) -> bool {
        if length == 0 || length as usize > INSPECTED_LENGTH {
            return false;
        }
        let length = masked!(length - 1, "16383") + 1;
        // SAFETY: the buffer holds INSPECTED_LENGTH bytes, and the helper checks the packet's bounds.
        let status = unsafe {
            bpf_xdp_load_bytes(self.context, offset, scratch.buffer.as_mut_ptr().cast::<c_void>(), length as u32)
        };
        status == 0
    }

    #[inline(always)]
    fn address_class(self, class: u32) -> Option<u32> {
        ADDRESS_CLASSES.get(class).copied()
    }

    #[inline(always)]
    fn number_class(self, class: u32) -> Option<&'static NumberClass> {
        NUMBER_CLASSES.get(class)
    }

    #[inline(always)]
    fn row(self, index: u32) -> Option<&'static RuleSet> {
        ROWS.get(index)
    }

    #[inline(always)]
    fn rule(self, index: u32) -> Option<&'static Rule> {
        RULES.get(index)
    }

    #[inline(always)]
    fn dfa(self, index: u32) -> Option<&'static Dfa> {
        DFAS.get(index)
    }

    #[inline(always)]
    fn count_rule(self, _rule: u32, slot: u32, update: impl FnOnce(&mut Counter)) {
        if let Some(counter) = RULE_COUNTERS.get_ptr_mut(slot) {
            // SAFETY: the value is this CPU's own; the reference ends with the call.
            update(unsafe { &mut *counter });
        }
    }

    #[inline(always)]
    fn count_packet(self, update: impl FnOnce(&mut InterfaceCounts)) {
        if let Some(counts) = REASON_COUNTERS.get_ptr_mut(self.interface() & (INTERFACE_SLOTS as u32 - 1)) {
            // SAFETY: as above.
            update(unsafe { &mut *counts });
        }
    }

    #[inline(always)]
    fn emit(self, scratch: &mut Scratch) -> bool {
        self.report(&EVENTS, scratch)
    }

    #[inline(always)]
    fn interface(self) -> u32 {
        // SAFETY: the context is this run's.
        unsafe { (*self.context).ingress_ifindex }
    }

    #[inline(always)]
    fn observation(self) -> Observation {
        match OBSERVATION.get(0) {
            Some(observation) => *observation,
            None => Observation::default(),
        }
    }

    #[inline(always)]
    fn random(self) -> u32 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn emit_sample(self, scratch: &mut Scratch) -> bool {
        self.report(&SAMPLES, scratch)
    }

    #[inline(always)]
    fn capture(self, event: &Event, length: u32) -> bool {
        // The kernel copies the packet's bytes itself, from all its buffers. It refuses more than the packet has.
        let flags = (masked!(length, "0xfffff") << 32) | CURRENT_CPU;
        // SAFETY: the helper reads the event's bytes and the packet's; the map is of perf events.
        let status = unsafe {
            bpf_perf_event_output(
                self.context.cast::<c_void>(),
                (&raw const CAPTURES).cast_mut().cast::<c_void>(),
                flags,
                (&raw const *event).cast_mut().cast::<c_void>(),
                size_of::<Event>() as u64,
            )
        };
        status == 0
    }

    #[inline(always)]
    fn count_observed(self, update: impl FnOnce(&mut Observed)) {
        if let Some(observed) = OBSERVED.get_ptr_mut(0) {
            // SAFETY: the value is this CPU's own; the reference ends with the call.
            update(unsafe { &mut *observed });
        }
    }

    #[inline(always)]
    fn ban_lengths(self) -> BanLengths {
        match BAN_LENGTHS.get(0) {
            Some(lengths) => *lengths,
            None => self.config().ban_lengths,
        }
    }

    #[inline(always)]
    fn count_banned(self, key: &BanKey) {
        if let Some(ban) = BANS.get_ptr_mut(key) {
            // SAFETY: the value stays valid during the run.
            let packets = unsafe { &raw mut (*ban).packets };
            // All CPUs count here. (The target has no atomic types.)
            // SAFETY: the field is aligned, and changed by atomic steps only.
            unsafe {
                core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) packets, in(reg) 1u64, options(nostack))
            };
        }
    }

    #[inline(always)]
    fn ban(self, key: &BanKey) -> Option<Ban> {
        // SAFETY: the value is copied at once. A torn copy mixes two bans of the same source, which does no harm.
        unsafe { BANS.get(key) }.copied()
    }

    #[inline(always)]
    fn set_ban(self, key: &BanKey, ban: &Ban) {
        self.enter(&BANS, entered::BANS, key, ban);
    }

    #[inline(always)]
    fn bucket(self, index: u32) -> Option<Bucket> {
        RATES.get_ptr_mut(index).map(|bucket| Bucket(bucket.cast()))
    }

    #[inline(always)]
    fn first_fragment(self, key: &FragmentKey) -> Option<Remembered> {
        // SAFETY: the value is copied at once. A torn copy of a value that is being replaced mixes two verdicts on datagrams with
        // the same identification, of which one is in force either way.
        unsafe { FRAGMENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn remember_fragment(self, key: &FragmentKey, value: &Remembered) {
        self.enter(&FRAGMENTS, entered::FRAGMENTS, key, value);
    }

    #[inline(always)]
    fn dropped_flow(self, key: &FlowKey) -> Option<Remembered> {
        // SAFETY: as above.
        unsafe { FLOWS.get(key) }.copied()
    }

    #[inline(always)]
    fn remember_flow(self, key: &FlowKey, value: &Remembered) {
        self.enter(&FLOWS, entered::FLOWS, key, value);
    }

    #[inline(always)]
    fn fence(self) {
        reload();
    }

    #[inline(always)]
    fn forget(self, scratch: &mut Scratch) {
        let mut address = &raw mut *scratch;
        // SAFETY: moves a register to itself. It is not `nomem` and has the address, so LLVM assumes that this memory has changed.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) address, options(nostack)) };
        let _ = address;
    }

    #[inline(always)]
    fn call<F: Function>(self, scratch: &mut Scratch, a: u32, b: u32) -> u32 {
        function(F::KIND)(scratch, a, b)
    }

    #[inline(always)]
    fn first_buffer_length(self) -> u32 {
        // SAFETY: the context is this run's.
        unsafe { (*self.context).data_end.wrapping_sub((*self.context).data) }
    }

    #[inline(always)]
    fn repeat<S: Step>(self, step: &mut S) {
        const { assert!(S::AHEAD <= S::TIMES && (S::TIMES - S::AHEAD).is_multiple_of(S::BATCH)) };
        for index in 0..S::AHEAD {
            self.fence();
            if step.step(index) {
                return;
            }
        }
        if S::TIMES > S::AHEAD {
            let times = (S::TIMES - S::AHEAD) / S::BATCH;
            // SAFETY: the callback has the signature that bpf_loop calls, and gets the pointer to `step` back.
            unsafe { bpf_loop(times, callback::<S> as *mut c_void, (&raw mut *step).cast::<c_void>(), 0) };
        }
    }
}

/// Makes a global function of each [`Function`] of the engine. The verifier takes their arguments and results for any numbers,
/// and so verifies each of them once, and not once per call and path to it.
macro_rules! functions {
    ($($name:ident: $kind:pat => $function:ty,)*) => {
        $(#[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $name(scratch: *mut Scratch, a: u32, b: u32) -> u32 {
            // Otherwise LLVM leaves unused arguments uninitialised in callers, and the verifier rejects the call.
            let (a, b) = (unknown(a), unknown(b));
            // SAFETY: the caller's unique reference. The verifier requires the check.
            match unsafe { scratch.as_mut() } {
                Some(scratch) => <$function>::run(Kernel::WITHOUT_PACKET, scratch, a, b),
                None => 0,
            }
        })*

        /// The global function for one of the engine's.
        #[inline(always)]
        fn function(kind: FunctionKind) -> extern "C" fn(*mut Scratch, u32, u32) -> u32 {
            match kind {
                $($kind => $name,)*
            }
        }
    };
}

functions! {
    count_known: FunctionKind::CountKnown => CountKnown,
    count_new: FunctionKind::CountNew => CountNew,
    find_call: FunctionKind::FindCall => FindCall,
    hash_text: FunctionKind::HashText => HashText,
    is_over: FunctionKind::IsOver => IsOver,
    note_call: FunctionKind::NoteCall => NoteCall,
    note_key: FunctionKind::NoteKey => NoteKey,
    find_mark: FunctionKind::FindMark => FindMark,
    find_method: FunctionKind::FindMethod => FindMethod,
    find_parameter: FunctionKind::FindParameter => FindParameter,
    find_request: FunctionKind::FindRequest => FindRequest,
    join_context: FunctionKind::JoinContext => JoinContext,
    narrow_texts: FunctionKind::NarrowTexts => NarrowTexts,
    note_end: FunctionKind::NoteEnd => NoteEnd,
    note_fold: FunctionKind::NoteFold => NoteFold,
    note_open_pairs: FunctionKind::NoteOpenPairs => NoteOpenPairs,
    read_colon: FunctionKind::ReadColon => ReadColon,
    read_common_uri: FunctionKind::ReadCommonUri => ReadCommonUri,
    read_headers: FunctionKind::ReadHeaders => ReadHeaders,
    read_identity: FunctionKind::ReadIdentity => ReadIdentity,
    read_name: FunctionKind::ReadName => ReadName,
    read_named_header: FunctionKind::ReadNamedHeader => ReadNamedHeader,
    fill_event: FunctionKind::FillEvent => FillEvent,
    draw: FunctionKind::Draw => Draw,
    observe: FunctionKind::Observe => Observe,
    read_number: FunctionKind::ReadNumber => ReadNumber,
    read_scheme: FunctionKind::ReadScheme => ReadScheme,
    read_over_line_ends: FunctionKind::ReadOverLineEnds => ReadOverLineEnds,
    read_start_line: FunctionKind::ReadStartLine => ReadStartLine,
    read_status_line: FunctionKind::ReadStatusLine => ReadStatusLine,
    read_uri: FunctionKind::ReadUri => ReadUri,
    read_user: FunctionKind::ReadUser => ReadUser,
    set_number: FunctionKind::SetNumber => SetNumber,
    trim_tel: FunctionKind::TrimTel => TrimTel,
    try_places: FunctionKind::TryPlaces => TryPlaces,
    find_line_feed: FunctionKind::Find(NeedleKind::LineFeed) => Find<find::LineFeed>,
    find_line_end: FunctionKind::Find(NeedleKind::LineEnd) => Find<find::LineEnd>,
    find_not_carriage_return: FunctionKind::Find(NeedleKind::NotCarriageReturn) => Find<find::NotCarriageReturn>,
    find_not_line_end: FunctionKind::Find(NeedleKind::NotLineEnd) => Find<find::NotLineEnd>,
    find_blank: FunctionKind::Find(NeedleKind::Blank) => Find<find::Blank>,
    find_not_blank: FunctionKind::Find(NeedleKind::NotBlank) => Find<find::NotBlank>,
    find_not_space: FunctionKind::Find(NeedleKind::NotSpace) => Find<find::NotSpace>,
    find_colon: FunctionKind::Find(NeedleKind::Colon) => Find<find::Colon>,
    find_at: FunctionKind::Find(NeedleKind::At) => Find<find::At>,
    find_slash: FunctionKind::Find(NeedleKind::Slash) => Find<find::Slash>,
    find_percent: FunctionKind::Find(NeedleKind::Percent) => Find<find::Percent>,
    find_opening_angle: FunctionKind::Find(NeedleKind::OpeningAngle) => Find<find::OpeningAngle>,
    find_closing_angle: FunctionKind::Find(NeedleKind::ClosingAngle) => Find<find::ClosingAngle>,
    find_question_mark: FunctionKind::Find(NeedleKind::QuestionMark) => Find<find::QuestionMark>,
    find_name_end: FunctionKind::Find(NeedleKind::NameEnd) => Find<find::NameEnd>,
    find_quote_backslash_angle: FunctionKind::Find(NeedleKind::QuoteBackslashAngle) => Find<find::QuoteBackslashAngle>,
    find_quote_backslash: FunctionKind::Find(NeedleKind::QuoteBackslash) => Find<find::QuoteBackslash>,
    find_angle_semicolon: FunctionKind::Find(NeedleKind::AngleSemicolon) => Find<find::AngleSemicolon>,
    find_display_delimiter: FunctionKind::Find(NeedleKind::DisplayDelimiter) => Find<find::DisplayDelimiter>,
    find_scheme_delimiter: FunctionKind::Find(NeedleKind::SchemeDelimiter) => Find<find::SchemeDelimiter>,
    find_user_delimiter: FunctionKind::Find(NeedleKind::UserDelimiter) => Find<find::UserDelimiter>,
    find_user_parameter_delimiter: FunctionKind::Find(NeedleKind::UserParameterDelimiter) => Find<find::UserParameterDelimiter>,
    find_user_separator: FunctionKind::Find(NeedleKind::UserSeparator) => Find<find::UserSeparator>,
    find_password_delimiter: FunctionKind::Find(NeedleKind::PasswordDelimiter) => Find<find::PasswordDelimiter>,
    find_tel_delimiter: FunctionKind::Find(NeedleKind::TelDelimiter) => Find<find::TelDelimiter>,
    find_urn_delimiter: FunctionKind::Find(NeedleKind::UrnDelimiter) => Find<find::UrnDelimiter>,
    find_host_end: FunctionKind::Find(NeedleKind::HostEnd) => Find<find::HostEnd>,
    find_angle_close: FunctionKind::Find(NeedleKind::AngleClose) => Find<find::AngleClose>,
    find_bare_end: FunctionKind::Find(NeedleKind::BareEnd) => Find<find::BareEnd>,
    find_parameter_end: FunctionKind::Find(NeedleKind::ParameterEnd) => Find<find::ParameterEnd>,
    find_semicolon_quote: FunctionKind::Find(NeedleKind::SemicolonQuote) => Find<find::SemicolonQuote>,
    find_semicolon_comma: FunctionKind::Find(NeedleKind::SemicolonComma) => Find<find::SemicolonComma>,
    find_comma: FunctionKind::Find(NeedleKind::Comma) => Find<find::Comma>,
    find_not_keep_alive: FunctionKind::Find(NeedleKind::NotKeepAlive) => Find<find::NotKeepAlive>,
    find_dot: FunctionKind::Find(NeedleKind::Dot) => Find<find::Dot>,
    find_comma_quote_angle: FunctionKind::Find(NeedleKind::CommaQuoteAngle) => Find<find::CommaQuoteAngle>,
    find_letter: FunctionKind::Find(NeedleKind::Letter) => Find<find::Letter>,
    find_space: FunctionKind::Find(NeedleKind::Space) => Find<find::Space>,
    find_odd_in_user: FunctionKind::Find(NeedleKind::OddInUser) => Find<find::OddInUser>,
    find_odd_in_other_user: FunctionKind::Find(NeedleKind::OddInOtherUser) => Find<find::OddInOtherUser>,
    find_not_plain_blank: FunctionKind::Find(NeedleKind::NotPlainBlank) => Find<find::NotPlainBlank>,
}

/// The value, hidden from LLVM's optimisations.
#[inline(always)]
fn unknown(value: u32) -> u32 {
    let mut value = u64::from(value);
    // SAFETY: moves a register to itself.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) value, options(nomem, nostack)) };
    value as u32
}

/// Makes LLVM load from memory again, see [`Host::fence`].
#[inline(always)]
fn reload() {
    let mut register = 0u64;
    // SAFETY: moves a register to itself. It is not `nomem`, so LLVM assumes that memory has changed.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) register, options(nostack)) };
    let _ = register;
}

/// The callback of `bpf_loop`: a batch of iterations.
#[inline(never)]
extern "C" fn callback<S: Step>(index: u64, step: *mut S) -> i64 {
    // SAFETY: `repeat` passes a pointer to the step that it holds a unique reference to, and waits.
    let step = unsafe { &mut *step };
    let first = S::AHEAD + index as u32 * S::BATCH;
    if S::BATCH == 1 {
        // Linux 6.1 wants to see that this is 0 or 1.
        return masked!(step.step(first), "1") as i64;
    }
    // See `Tables::bound`.
    let batch = unknown(S::BATCH);
    for index in 0..batch {
        reload();
        if step.step(first + index) {
            return 1;
        }
    }
    0
}
