//! What one parser reads in one message.

/// What a message is to a parser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Nothing that it would act on.
    #[default]
    Nothing,
    /// A request, with any method.
    Request,
    /// A response, with any status code.
    Response,
}

/// A value that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the header or the part of its name")]
pub enum Field {
    Method,
    RequestUser,
    FromUser,
    ToUser,
    UserAgent,
    AssertedUser,
    DiversionUser,
    CallId,
}

/// All fields, in the order in which readers print them.
pub const FIELDS: [Field; 8] = [
    Field::Method,
    Field::RequestUser,
    Field::FromUser,
    Field::ToUser,
    Field::UserAgent,
    Field::AssertedUser,
    Field::DiversionUser,
    Field::CallId,
];

impl Field {
    /// Its name in reports, in the lists of differences, and in what `ringfence inspect` prints.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RequestUser => "request_uri_user",
            Self::FromUser => "from_user",
            Self::ToUser => "to_user",
            Self::UserAgent => "user_agent",
            Self::AssertedUser => "pai_user",
            Self::DiversionUser => "diversion_user",
            Self::CallId => "call_id",
        }
    }

    /// True for a URI's user part.
    #[must_use]
    pub fn is_user(self) -> bool {
        match self {
            Self::RequestUser | Self::FromUser | Self::ToUser | Self::AssertedUser | Self::DiversionUser => true,
            Self::Method | Self::UserAgent | Self::CallId => false,
        }
    }
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What the message is.
    pub kind: Kind,
    /// The values of each of [`FIELDS`]; several where a server reads a list.
    pub values: [Vec<Vec<u8>>; FIELDS.len()],
    /// What the engine reports beside the values.
    pub anomalies: Vec<String>,
    /// What the engine calls the payload.
    pub payload: String,
    /// The method as the engine's rules see it.
    pub method_class: Option<String>,
}

impl Reading {
    /// The values of a field.
    #[must_use]
    pub fn of(&self, field: Field) -> &[Vec<u8>] {
        &self.values[field as usize]
    }

    /// Reads a line that a reader printed. None if it is not such a line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split('\t');
        let kind = match parts.next()? {
            "nothing" => Kind::Nothing,
            "request" => Kind::Request,
            "response" => Kind::Response,
            _ => return None,
        };
        let mut reading = Self { kind, ..Self::default() };
        for values in &mut reading.values {
            let part = parts.next()?;
            if part != "-" {
                *values = part.split(',').map(unhex).collect::<Option<_>>()?;
            }
        }
        Some(reading)
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_reader_is_parsed() {
        let reading = Reading::parse("request\t494e56495445\t2b31\t-\t\t61,62\t-\t-\t-").expect("a good line");
        assert_eq!(reading.kind, Kind::Request);
        assert_eq!(reading.of(Field::Method), [b"INVITE".to_vec()]);
        assert_eq!(reading.of(Field::FromUser), Vec::<Vec<u8>>::new());
        assert_eq!(reading.of(Field::ToUser), [Vec::<u8>::new()]);
        assert_eq!(reading.of(Field::UserAgent), [b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(Reading::parse("warning: something else"), None);
    }
}
