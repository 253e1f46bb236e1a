//! Keys as the text that `openssl pkey` and others read: PKCS#8 for the private one, SPKI for the public one (RFC 8410, 7).
//!
//! Owns: these two texts. An Ed25519 key in them is 32 bytes behind a fixed beginning, so anything else is refused rather
//! than understood. Must not open files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize as _, Zeroizing};

use super::key::{SigningKey, VerifyingKey, VerifyingKeyError};

/// What stands before the 32 bytes of a private key: `SEQUENCE { INTEGER 0, SEQUENCE { OID 1.3.101.112 }, OCTET STRING {
/// OCTET STRING of 32 } }`.
pub const PRIVATE: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// What stands before the 32 bytes of a public key: `SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING of 32 bytes }`.
pub const PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// Why a text is no key of ours. Nothing of the text is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// It lacks the lines before and after.
    #[error("it has no line -----BEGIN {label}-----, or none that ends it")]
    Label {
        /// What should stand in these lines.
        label: &'static str,
    },
    /// Between these lines is something else than base64.
    #[error("it is not base64 between its first and last line")]
    Base64,
    /// It is of another algorithm, or has more in it than a key.
    #[error("it is no Ed25519 key in its shortest form")]
    Algorithm,
    /// A public key that cannot be one.
    #[error("its public key cannot be used")]
    Key(#[source] VerifyingKeyError),
}

impl PemError {
    /// What may help, in one line.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Label { .. } | Self::Base64 => {
                "a key file is what `sixfold key new` or `openssl genpkey` wrote"
            }
            Self::Algorithm => "make one with `sixfold key new`, or `openssl genpkey -algorithm ed25519`",
            Self::Key(_) => "nobody can have signed with it: ask where it comes from",
        }
    }
}

fn armour(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    Zeroizing::new(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", body.as_str()))
}

/// The bytes between the two lines, which begin as they must.
fn bare<const N: usize>(
    text: &str,
    label: &'static str,
    start: &[u8],
) -> Result<Zeroizing<[u8; N]>, PemError> {
    let (first, last) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let inside = text.trim().strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
    let inside = inside.ok_or(PemError::Label { label })?;
    let mut der = Zeroizing::new([0_u8; 96]);
    // What is longer than the buffer is no key of ours, whatever it says.
    let length = STANDARD.decode_slice(inside.trim(), &mut *der).map_err(|error| match error {
        base64::DecodeSliceError::DecodeError(_) => PemError::Base64,
        base64::DecodeSliceError::OutputSliceTooSmall => PemError::Algorithm,
    })?;
    let key = der[..length].strip_prefix(start).ok_or(PemError::Algorithm)?;
    let mut bytes = [0; N];
    if key.len() != N {
        return Err(PemError::Algorithm);
    }
    bytes.copy_from_slice(key);
    let kept = Zeroizing::new(bytes);
    bytes.zeroize();
    Ok(kept)
}

impl SigningKey {
    /// As PKCS#8: for its file, and for nothing else.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut der = Zeroizing::new([0_u8; 48]);
        der[..16].copy_from_slice(&PRIVATE);
        der[16..].copy_from_slice(&*self.seed());
        armour("PRIVATE KEY", &*der)
    }

    /// Reads what [`SigningKey::to_pem`] or `openssl genpkey -algorithm ed25519` wrote.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn from_pem(text: &str) -> Result<Self, PemError> {
        Ok(Self::from_seed(&*bare(text, "PRIVATE KEY", &PRIVATE)?))
    }
}

impl VerifyingKey {
    /// As SPKI.
    #[must_use]
    pub fn to_pem(&self) -> String {
        armour("PUBLIC KEY", &[&PUBLIC[..], self.as_bytes()].concat()).as_str().to_owned()
    }

    /// Reads what [`VerifyingKey::to_pem`] or `openssl pkey -pubout` wrote.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn from_pem(text: &str) -> Result<Self, PemError> {
        Self::from_bytes(*bare(text, "PUBLIC KEY", &PUBLIC)?).map_err(PemError::Key)
    }
}
