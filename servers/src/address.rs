//! An address header's value or a Request-URI, in parts that mutations change one by one.

/// `display before scheme user at host uri_params after params`, for example `"A" <sip:1@h;user=phone>;tag=1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Address {
    pub display: Vec<u8>,
    pub before: Vec<u8>,
    pub scheme: Vec<u8>,
    pub user: Vec<u8>,
    pub at: Vec<u8>,
    pub host: Vec<u8>,
    pub uri_params: Vec<u8>,
    pub after: Vec<u8>,
    pub params: Vec<u8>,
}

impl Address {
    /// A URI alone.
    pub(crate) fn uri(user: &str, host: &str) -> Self {
        Self { scheme: b"sip:".to_vec(), user: user.into(), at: b"@".to_vec(), host: host.into(), ..Self::default() }
    }

    /// A URI in angle brackets.
    pub(crate) fn bracketed(user: &str, host: &str, params: &str) -> Self {
        Self { before: b"<".to_vec(), after: b">".to_vec(), params: params.into(), ..Self::uri(user, host) }
    }

    /// A `tel:` URI, in angle brackets.
    pub(crate) fn tel(number: &str, params: &str) -> Self {
        let mut address = Self::bracketed(number, "", params);
        address.scheme = b"tel:".to_vec();
        address.at.clear();
        address
    }

    /// With this display name.
    pub(crate) fn named(mut self, display: &str) -> Self {
        self.display = display.into();
        self
    }

    /// All parts, one after another.
    pub(crate) fn render(&self) -> Vec<u8> {
        let Self { display, before, scheme, user, at, host, uri_params, after, params } = self;
        [display, before, scheme, user, at, host, uri_params, after, params].map(Vec::as_slice).concat()
    }
}
