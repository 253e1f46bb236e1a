//! Which registry: where it is, and the key that it has there, in one text to be pasted.
//!
//! Owns: that text, `sixfold://KEY@HOST:PORT`. KEY is the registry's public key in base64url without padding, so that
//! nothing in it needs quoting. Must not look anything up.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sixfold_core::trust::{VerifyingKey, is_registry_address};

/// What the text begins with.
const SCHEME: &str = "sixfold://";

/// A registry: its address and its key.
///
/// ```
/// use sixfold_api::url::RegistryUrl;
/// let text = "sixfold://GX9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE@registry.example.net:7443";
/// let url: RegistryUrl = text.parse()?;
/// assert_eq!(url.address(), "registry.example.net:7443");
/// assert_eq!(url.to_string(), text);
/// # Ok::<(), sixfold_api::url::UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistryUrl {
    key: VerifyingKey,
    address: String,
}

/// Why a text names no registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It has not the parts.
    #[error("not a registry like sixfold://KEY@HOST:PORT")]
    Shape,
    /// The part before the `@` is no key.
    #[error("the part before the @ is no public key in base64url")]
    Key,
    /// The part after the `@` is no address.
    #[error("{address:?} is not a host and a port")]
    Address {
        /// The address given.
        address: String,
    },
}

impl UrlError {
    /// What helps, in one line.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Shape | Self::Key => "copy the whole address that `sixfold registry run` printed",
            Self::Address { .. } => "like registry.example.net:7443 or [2001:db8::1]:7443",
        }
    }
}

impl RegistryUrl {
    /// The registry at `address` (a name, an IPv4 address or an IPv6 one in brackets, a colon and a port) with `key`.
    ///
    /// # Errors
    /// [`UrlError::Address`].
    pub fn new(key: VerifyingKey, address: impl Into<String>) -> Result<Self, UrlError> {
        let address = address.into();
        if is_registry_address(&address) {
            Ok(Self { key, address })
        } else {
            Err(UrlError::Address { address })
        }
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> VerifyingKey {
        self.key
    }

    /// Where it is, as `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{SCHEME}{}@{}", URL_SAFE_NO_PAD.encode(self.key.as_bytes()), self.address))
    }
}

impl FromStr for RegistryUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (key, address) =
            text.strip_prefix(SCHEME).and_then(|rest| rest.split_once('@')).ok_or(UrlError::Shape)?;
        let bytes = URL_SAFE_NO_PAD.decode(key).map_err(|_| UrlError::Key)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| UrlError::Key)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| UrlError::Key)?;
        Self::new(key, address)
    }
}

impl TryFrom<String> for RegistryUrl {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Self, UrlError> {
        text.parse()
    }
}

impl From<RegistryUrl> for String {
    fn from(url: RegistryUrl) -> Self {
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use sixfold_core::trust::SigningKey;

    use super::*;

    #[test]
    fn every_kind_of_host_is_read_as_it_was_written() {
        let key = SigningKey::from_seed(&[1; 32]).verifying();
        for address in ["registry.example.net:7443", "192.0.2.1:1", "[2001:db8::1]:65535", "ant:7443"] {
            let url = RegistryUrl::new(key, address).unwrap();
            assert_eq!(url.to_string().parse(), Ok(url.clone()));
            assert_eq!((url.key(), url.address()), (key, address));
            let json = serde_json::to_string(&url).unwrap();
            assert_eq!(serde_json::from_str::<RegistryUrl>(&json).unwrap(), url);
        }
    }

    #[test]
    fn what_names_no_registry_is_refused() {
        let key = "GX9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE";
        let refused = |text: String| text.parse::<RegistryUrl>().unwrap_err();
        assert_eq!(refused(format!("https://{key}@ant:7443")), UrlError::Shape);
        assert_eq!(refused(format!("sixfold://{key}")), UrlError::Shape);
        assert_eq!(refused("sixfold://ant:7443".to_owned()), UrlError::Shape);
        for other in ["", "a", &format!("{key}="), &"A".repeat(43)] {
            assert_eq!(refused(format!("sixfold://{other}@ant:7443")), UrlError::Key, "{other}");
        }
        for address in ["ant", "ant:", "ant:0", "2001:db8::1:7443", "ant:7443/", "a@b:1", ""] {
            let address = address.to_owned();
            assert_eq!(refused(format!("sixfold://{key}@{address}")), UrlError::Address { address });
        }
    }
}
