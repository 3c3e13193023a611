//! The kinds of mistakes.

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)*) => {
        /// The kind of mistake that a diagnostic is about. The names are stable: editors and pipelines filter on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($(#[doc = $doc])+ $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name that output shows, in lower case with hyphens.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// An action that does not exist, or is written in the wrong form.
    BadAction = "bad-action";
    /// An address or CIDR that cannot be read.
    BadAddress = "bad-address";
    /// A country calling code that does not exist.
    BadCountryCode = "bad-country-code";
    /// A CSV list that cannot be read.
    BadCsv = "bad-csv";
    /// A date that cannot be read.
    BadDate = "bad-date";
    /// A duration that cannot be read.
    BadDuration = "bad-duration";
    /// Days or times of a rule's hours that cannot be read.
    BadHours = "bad-hours";
    /// A number that cannot be read.
    BadNumber = "bad-number";
    /// A regular expression that cannot be read.
    BadPattern = "bad-pattern";
    /// A rate that cannot be read.
    BadRate = "bad-rate";
    /// A score that is not between 0 and 100.
    BadScore = "bad-score";
    /// A value that a key or scope cannot have.
    BadValue = "bad-value";
    /// A rule drops or bans the default gateway of the host that the policy is checked on.
    BlocksGateway = "blocks-gateway";
    /// A rule drops or bans addresses that the policy itself trusts.
    BlocksOwnPeers = "blocks-own-peers";
    /// An address set that holds every address.
    CoversEverything = "covers-everything";
    /// A rule drops whole TCP connections of sources that the policy trusts.
    DropsTrunk = "drops-trunk";
    /// A signalling port that is listed twice.
    DuplicatePort = "duplicate-port";
    /// Two rules with the same name.
    DuplicateRule = "duplicate-rule";
    /// Two upstreams with the same name.
    DuplicateUpstream = "duplicate-upstream";
    /// A condition or list without values.
    Empty = "empty";
    /// A pinhole for emergency calls after a rule that can drop them.
    EmergencyTooLate = "emergency-too-late";
    /// A pinhole for emergency calls that none to the URN of a service passes.
    EmergencyWithoutUrn = "emergency-without-urn";
    /// A set without entries, or one that has lost most of them.
    EmptiedSet = "emptied-set";
    /// List entries that have expired and are left out.
    ExpiredEntries = "expired-entries";
    /// A rule whose last day has passed.
    ExpiredRule = "expired-rule";
    /// A CIDR with host bits set.
    HostBits = "host-bits";
    /// A number that cannot be dialled.
    ImpossibleNumber = "impossible-number";
    /// A line of a list that is too long to be an entry.
    LineTooLong = "line-too-long";
    /// A pattern that matches every value.
    MatchesEverything = "matches-everything";
    /// A file that cannot be read.
    MissingFile = "missing-file";
    /// A required key that is missing.
    MissingKey = "missing-key";
    /// Numbers that look national in a list that is read as E.164.
    NationalLooking = "national-looking";
    /// Rules or the default can drop emergency calls, and no rule lets them through.
    NoEmergencyPinhole = "no-emergency-pinhole";
    /// A rule bans sources, and no source is exempt.
    NoNeverBan = "no-never-ban";
    /// No port to filter.
    NoPorts = "no-ports";
    /// A reputation condition without a scored list.
    NoScores = "no-scores";
    /// A condition on upstreams that none can meet.
    NoUpstream = "no-upstream";
    /// A condition that needs an imported numbering table.
    NoNumberingTable = "no-numbering-table";
    /// A list that is not text, or not in UTF-8.
    NotText = "not-text";
    /// Number rules without a `[numbering]` section.
    NumberingAssumed = "numbering-assumed";
    /// An address that several upstreams have among their trunks.
    OverlappingUpstreams = "overlapping-upstreams";
    /// A path that leaves the policy's directory.
    OutsidePolicy = "outside-policy";
    /// A rule names a port or transport that is not among the signalling ports.
    PortNotConfigured = "port-not-configured";
    /// A report-mode rule past its review date.
    ReviewOverdue = "review-overdue";
    /// A short code written as a prefix.
    ShortCodeAsPrefix = "short-code-as-prefix";
    /// A rule that bans whoever one forged packet names.
    SpoofableBan = "spoofable-ban";
    /// A rule that drops numbers because the built-in table, which is old, has no such area code.
    StaleNumberingTable = "stale-numbering-table";
    /// TOML that cannot be read.
    Syntax = "syntax";
    /// Bans of prefixes of more lengths than are looked up.
    TooManyBanPrefixes = "too-many-ban-prefixes";
    /// More headers of the policy's choice than the filter can look for.
    TooManyHeaders = "too-many-headers";
    /// More numbering plans than the filter can hold.
    TooManyPlans = "too-many-plans";
    /// More ports than the filter can hold.
    TooManyPorts = "too-many-ports";
    /// More rules than the filter can hold.
    TooManyRules = "too-many-rules";
    /// The compiled form would be too large.
    TooLarge = "too-large";
    /// An anomaly that does not exist.
    UnknownAnomaly = "unknown-anomaly";
    /// A country that does not exist.
    UnknownCountry = "unknown-country";
    /// A format that does not exist.
    UnknownFormat = "unknown-format";
    /// What is no header's name, or a misspelt scope.
    UnknownHeader = "unknown-header";
    /// A key that does not exist.
    UnknownKey = "unknown-key";
    /// A method that does not exist.
    UnknownMethod = "unknown-method";
    /// A region that does not exist.
    UnknownRegion = "unknown-region";
    /// A scope that does not exist.
    UnknownScope = "unknown-scope";
    /// A set that does not exist.
    UnknownSet = "unknown-set";
    /// A stage that does not exist.
    UnknownStage = "unknown-stage";
    /// A time zone that does not exist.
    UnknownTimezone = "unknown-timezone";
    /// An upstream that does not exist.
    UnknownUpstream = "unknown-upstream";
    /// A rule that can never match.
    Unreachable = "unreachable";
    /// A policy version that this program does not read.
    UnsupportedVersion = "unsupported-version";
    /// A set that no rule uses.
    UnusedSet = "unused-set";
    /// A set whose entries are not of the kind that the scope takes.
    WrongSet = "wrong-set";
    /// A value of the wrong TOML type.
    WrongType = "wrong-type";
}
