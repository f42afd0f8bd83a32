//! Request methods (RFC 9110 §9).

/// A request's method. The bytes of an [`Method::Extension`] stay in the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    #[default]
    Get,
    /// `HEAD`.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `DELETE`.
    Delete,
    /// `CONNECT`.
    Connect,
    /// `OPTIONS`.
    Options,
    /// `TRACE`.
    Trace,
    /// `PATCH` (RFC 5789).
    Patch,
    /// `PURGE`: registered nowhere, understood by most caches.
    Purge,
    /// Any other method.
    Extension,
}

impl Method {
    /// The method that a token names. Methods are case-sensitive (RFC 9110 §9.1).
    #[must_use]
    pub const fn of(token: &[u8]) -> Self {
        match token {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            b"PURGE" => Self::Purge,
            _ => Self::Extension,
        }
    }

    /// The method's name; `None` for an extension.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Get => Some("GET"),
            Self::Head => Some("HEAD"),
            Self::Post => Some("POST"),
            Self::Put => Some("PUT"),
            Self::Delete => Some("DELETE"),
            Self::Connect => Some("CONNECT"),
            Self::Options => Some("OPTIONS"),
            Self::Trace => Some("TRACE"),
            Self::Patch => Some("PATCH"),
            Self::Purge => Some("PURGE"),
            Self::Extension => None,
        }
    }

    /// Whether a request with this method only reads (RFC 9110 §9.2.1).
    #[must_use]
    pub const fn is_safe(self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Options | Self::Trace => true,
            Self::Post | Self::Put | Self::Delete | Self::Connect | Self::Patch | Self::Purge | Self::Extension => {
                false
            }
        }
    }

    /// Whether a request may be repeated without harm (RFC 9110 §9.2.2). Unknown methods may not.
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMED: [Method; 10] = [
        Method::Get,
        Method::Head,
        Method::Post,
        Method::Put,
        Method::Delete,
        Method::Connect,
        Method::Options,
        Method::Trace,
        Method::Patch,
        Method::Purge,
    ];

    #[test]
    fn names_lead_back_to_their_methods() {
        for method in NAMED {
            assert_eq!(method.name().map(|name| Method::of(name.as_bytes())), Some(method));
        }
        assert_eq!(Method::Extension.name(), None);
    }

    #[test]
    fn methods_are_case_sensitive() {
        for token in [&b"get"[..], b"Get", b"GETS", b"", b"PROPFIND"] {
            assert_eq!(Method::of(token), Method::Extension);
        }
    }

    #[test]
    fn safe_and_idempotent_methods_are_those_of_the_rfc() {
        let safe: Vec<_> = NAMED.into_iter().filter(|method| method.is_safe()).collect();
        assert_eq!(safe, [Method::Get, Method::Head, Method::Options, Method::Trace]);
        let idempotent: Vec<_> = NAMED.into_iter().filter(|method| method.is_idempotent()).collect();
        assert_eq!(
            idempotent,
            [Method::Get, Method::Head, Method::Put, Method::Delete, Method::Options, Method::Trace]
        );
        assert!(!Method::Extension.is_idempotent());
    }
}
