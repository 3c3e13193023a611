//! What the engine needs from the place it runs in.

use crate::{
    find::NeedleKind,
    layout::{
        Ban, BanKey, BanLengths, Config, Counter, Dfa, Event, FlowKey, FragmentKey, InterfaceCounts, NumberClass,
        Observation, Observed, Remembered, Rule, RuleSet,
    },
    scratch::Scratch,
    trie::Tables,
};

/// A loop that the host runs, and one iteration of it.
///
/// The constants are for the kernel, where a loop is `bpf_loop` with a callback. A return from a function costs as much there as
/// forty instructions on processors that need a return thunk (AMD's Safe RET). The verifier pays for each iteration that is not
/// inside a call.
pub trait Step {
    /// The most iterations. The loop ends after them even if no step has ended it.
    const TIMES: u32;
    /// Iterations before `bpf_loop`: as many as most packets need.
    const AHEAD: u32 = 0;
    /// Iterations that a call of the callback makes.
    const BATCH: u32 = 1;

    /// Runs iteration `index`. True ends the loop.
    fn step(&mut self, index: u32) -> bool;
}

/// A part of the engine that the host may call instead of inlining it. Of the packet, it reads only what has been copied.
///
/// In the kernel this is a global function: the verifier takes its arguments and its result for any numbers, and so verifies it
/// once, and not once for each call and each path to it.
pub trait Function {
    /// The function's own value of [`FunctionKind`].
    const KIND: FunctionKind;

    /// Runs the function.
    fn run<'m, H: Host<'m>>(host: H, scratch: &mut Scratch, a: u32, b: u32) -> u32;
}

/// All [`Function`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    /// [`crate::find::Find`].
    Find(NeedleKind),
    /// [`crate::start_line::FindMark`].
    FindMark,
    /// [`crate::start_line::FindMethod`].
    FindMethod,
    /// [`crate::start_line::FindRequest`].
    FindRequest,
    /// [`crate::uri::FindParameter`].
    FindParameter,
    /// [`crate::uri::JoinContext`].
    JoinContext,
    /// [`crate::text::NarrowTexts`].
    NarrowTexts,
    /// [`crate::uri::NoteEnd`].
    NoteEnd,
    /// [`crate::message::NoteFold`].
    NoteFold,
    /// [`crate::headers::NoteOpenPairs`].
    NoteOpenPairs,
    /// [`crate::message::ReadColon`].
    ReadColon,
    /// [`crate::uri::ReadCommonUri`].
    ReadCommonUri,
    /// [`crate::message::ReadHeaders`].
    ReadHeaders,
    /// [`crate::identity::ReadIdentity`].
    ReadIdentity,
    /// [`crate::uri::ReadName`].
    ReadName,
    /// [`crate::header::ReadNamedHeader`].
    ReadNamedHeader,
    /// [`crate::rate::CountNew`].
    CountNew,
    /// [`crate::rate::CountKnown`].
    CountKnown,
    /// [`crate::rate::FindCall`].
    FindCall,
    /// [`crate::hash::HashText`].
    HashText,
    /// [`crate::rate::IsOver`].
    IsOver,
    /// [`crate::rate::NoteCall`].
    NoteCall,
    /// [`crate::rate::NoteKey`].
    NoteKey,
    /// [`crate::event::FillEvent`].
    FillEvent,
    /// [`crate::observe::Draw`].
    Draw,
    /// [`crate::observe::Observe`].
    Observe,
    /// [`crate::uri::ReadNumber`].
    ReadNumber,
    /// [`crate::uri::ReadScheme`].
    ReadScheme,
    /// [`crate::start_line::ReadOverLineEnds`].
    ReadOverLineEnds,
    /// [`crate::start_line::ReadStartLine`].
    ReadStartLine,
    /// [`crate::start_line::ReadStatusLine`].
    ReadStatusLine,
    /// [`crate::uri::ReadUri`].
    ReadUri,
    /// [`crate::uri::ReadUser`].
    ReadUser,
    /// [`crate::numbers::SetNumber`].
    SetNumber,
    /// [`crate::uri::TrimTel`].
    TrimTel,
    /// [`crate::text::TryPlaces`].
    TryPlaces,
}

/// A bucket of the table of limits, which all processors share.
pub trait Words: Copy {
    /// A word. It is never torn.
    fn get(self, index: usize) -> u64;
    /// Writes a word, after all that came before and before all that comes after.
    fn put(self, index: usize, value: u64);
    /// Writes `new` in place of `old`, in one step. False if the word is not `old`.
    fn exchange(self, index: usize, old: u64, new: u64) -> bool;
}

/// A host: BPF maps in the kernel, vectors in user space. It is a handle and copied freely; `'m` is how long the maps live.
///
/// Look-ups return `None` only if an index is out of range, which a compiled policy rules out. The engine then decides with
/// [`Reason::Internal`](crate::reason::Reason::Internal) or treats the value as being in no class.
pub trait Host<'m>: Copy + Tables {
    /// See [`Self::bucket`].
    type Words: Words;

    /// The policy's configuration. In the kernel these are constants to the verifier.
    fn config(self) -> &'m Config;
    /// Coarse monotonic time, ns: accurate to some milliseconds.
    fn now(self) -> u64;
    /// A number that changes whenever [`Self::now`] does, and costs nothing to ask for.
    fn tick(self) -> u64 {
        self.now()
    }

    /// The packet's length in bytes, from the Ethernet header on.
    fn packet_length(self) -> u32;
    /// The number of bytes that can be read without a call: those in the packet's first buffer.
    fn first_buffer_length(self) -> u32 {
        self.packet_length()
    }
    /// `N` bytes of the packet at `offset`, which is at most [`crate::packet::MAX_HEADER_OFFSET`].
    fn load<const N: usize>(self, offset: u32) -> Option<&'m [u8; N]>;
    /// The packet's first `N` bytes.
    #[inline(always)]
    fn load_start<const N: usize>(self) -> Option<&'m [u8; N]> {
        self.load(0)
    }
    /// Copies `length` bytes (1 to [`crate::limits::INSPECTED_LENGTH`]) at `offset` to the start of the scratch buffer; false
    /// if the packet does not have them.
    fn copy_message(self, scratch: &mut Scratch, offset: u32, length: u32) -> bool;

    /// Properties of an address class apart from its row of rules, see [`address_flag`](crate::layout::address_flag).
    fn address_class(self, class: u32) -> Option<u32>;
    /// Properties of a number class apart from its row of rules.
    fn number_class(self, class: u32) -> Option<&'m NumberClass>;
    /// A row of the table of rule sets.
    fn row(self, index: u32) -> Option<&'m RuleSet>;
    /// The rule at an index, in the order of the policy.
    fn rule(self, index: u32) -> Option<&'m Rule>;
    /// A text's compiled patterns.
    fn dfa(self, index: u32) -> Option<&'m Dfa>;

    /// Lets `update` change the counter of the rule with this slot, on this CPU. `rule` is the rule's index in the policy.
    fn count_rule(self, rule: u32, slot: u32, update: impl FnOnce(&mut Counter));
    /// Lets `update` change the counters of the interface that the packet came in on, on this CPU.
    fn count_packet(self, update: impl FnOnce(&mut InterfaceCounts));
    /// Hands over the event in the scratch memory, with the packet's bytes if these are no more than
    /// [`REPORTED_BYTES`](crate::limits::REPORTED_BYTES). False if it was lost.
    fn emit(self, scratch: &mut Scratch) -> bool;

    /// True if a message is read whole before a rule drops it, for those who want to see what it says. In the kernel, whoever reads the
    /// event reads the packet.
    #[inline(always)]
    fn reads_whole(self) -> bool {
        false
    }

    /// Index of the interface that the packet came in on; 0 if there is none.
    #[inline(always)]
    fn interface(self) -> u32 {
        0
    }
    /// Which packets are to be reported apart from events. In user space nobody asks.
    #[inline(always)]
    fn observation(self) -> Observation {
        Observation::default()
    }
    /// A random number.
    #[inline(always)]
    fn random(self) -> u32 {
        0
    }
    /// As [`Self::emit`], for a sample.
    #[inline(always)]
    fn emit_sample(self, _scratch: &mut Scratch) -> bool {
        false
    }
    /// Hands over what is said of the packet, with its first `length` bytes. False if it was lost.
    #[inline(always)]
    fn capture(self, _event: &Event, _length: u32) -> bool {
        false
    }
    /// Lets `update` change what was observed, on this CPU.
    #[inline(always)]
    fn count_observed(self, _update: impl FnOnce(&mut Observed)) {}

    /// The lengths of the prefixes that may be banned.
    fn ban_lengths(self) -> BanLengths;
    /// The ban of a prefix, which may have ended.
    fn ban(self, key: &BanKey) -> Option<Ban>;
    /// Counts a packet that a ban drops.
    fn count_banned(self, key: &BanKey);
    /// Bans a prefix.
    fn set_ban(self, key: &BanKey, ban: &Ban);
    /// A bucket of the table of limits.
    fn bucket(self, index: u32) -> Option<Self::Words>;
    /// Notes that a packet does not exceed the limit of the rule with this slot.
    #[inline(always)]
    fn note_within(self, _slot: u32) {}

    /// The verdict on a datagram's first fragment, remembered for its later ones.
    fn first_fragment(self, key: &FragmentKey) -> Option<Remembered>;
    /// Remembers a verdict for a datagram's later fragments.
    fn remember_fragment(self, key: &FragmentKey, value: &Remembered);
    /// The verdict remembered for a TCP flow.
    fn dropped_flow(self, key: &FlowKey) -> Option<Remembered>;
    /// Remembers a verdict for a TCP flow.
    fn remember_flow(self, key: &FlowKey, value: &Remembered);

    /// Makes reads of the scratch memory after this call load from memory again.
    ///
    /// To the verifier, a value loaded from a map is an unknown number. Without this, LLVM would keep the value in a register. The
    /// verifier tracks what each path implies for a register, and verifies what follows once per path.
    #[inline(always)]
    fn fence(self) {}

    /// As [`Self::fence`], where the scratch memory is a function's argument: there, LLVM would know that nothing else changes it.
    #[inline(always)]
    fn forget(self, _scratch: &mut Scratch) {}

    /// `value & MASK`, as an index that the verifier knows to be within the mask.
    ///
    /// LLVM takes masks apart and moves them before the last operation if it can. To the verifier of Linux 6.1, the result of an
    /// OR or of a shift by a register is then any number.
    #[inline(always)]
    fn masked<const MASK: u32>(self, value: u32) -> usize {
        (value & MASK) as usize
    }

    /// Calls a [`Function`].
    #[inline(always)]
    fn call<F: Function>(self, scratch: &mut Scratch, a: u32, b: u32) -> u32 {
        F::run(self, scratch, a, b)
    }

    /// Runs `step` up to [`Step::TIMES`] times. A plain loop, unless the verifier needs `bpf_loop`.
    fn repeat<S: Step>(self, step: &mut S) {
        for index in 0..S::TIMES {
            if step.step(index) {
                break;
            }
        }
    }
}
