//! Identities on the wire: TLS 1.3 between keys that know each other, without any authority.
//!
//! Owns: how an Ed25519 key becomes a certificate, how one is read back out of the other side's, and the settings of both
//! sides. A certificate here is only the form in which TLS carries a key: names and dates in it mean nothing. Whoever
//! proves to hold the key is that identity; what it may do is decided elsewhere. Must not keep keys on disk.

mod elsewhere;

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error as RustlsError,
    ServerConfig, SignatureScheme,
};
use sixfold_core::trust::{SigningKey, pem};
use zeroize::Zeroizing;

use self::elsewhere::Elsewhere;
pub use self::elsewhere::Sign;

/// An Ed25519 public key, as it is signed with.
pub type RawKey = [u8; 32];

/// The one name all certificates bear. TLS wants a name; here the key is who it is.
const NAME: &str = "sixfold";
/// What is spoken inside.
const ALPN: &[u8] = b"http/1.1";

/// Why a key cannot be spoken with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The bytes are not PKCS#8 of an Ed25519 key.
    #[error("the private key is not PKCS#8 of an Ed25519 key")]
    Key(#[source] rcgen::Error),
    /// It cannot be made a certificate.
    #[error("no certificate can be made for the key")]
    Certificate(#[source] rcgen::Error),
    /// The library does not take it.
    #[error("TLS cannot be set up with the key")]
    Setup(#[source] RustlsError),
}

/// A private key and the certificate that carries its public half. It can be spoken with and nothing else: it has no
/// `Debug` or `Display`.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    key: RawKey,
}

impl Identity {
    /// Reads PKCS#8 (DER). The certificate is the same for the same key, whenever it is made.
    ///
    /// # Errors
    /// [`TlsError`] if it is another kind of key, or none.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, TlsError> {
        let pkcs8 = PrivatePkcs8KeyDer::from(der);
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &rcgen::PKCS_ED25519)
            .map_err(TlsError::Key)?;
        let key = RawKey::try_from(pair.public_key_raw())
            .map_err(|_| TlsError::Key(rcgen::Error::CouldNotParseKeyPair))?;
        let params = rcgen::CertificateParams::new([NAME.to_owned()]).map_err(TlsError::Certificate)?;
        let certificate = params.self_signed(&pair).map_err(TlsError::Certificate)?;
        let signing = provider()
            .key_provider
            .load_private_key(PrivateKeyDer::Pkcs8(pkcs8.clone_key()))
            .map_err(TlsError::Setup)?;
        let certified = CertifiedKey::new(vec![certificate.der().clone()], signing);
        Ok(Self { certified: Arc::new(certified), key })
    }

    /// The identity of a key.
    ///
    /// # Errors
    /// [`TlsError`] if the library does not take it.
    pub fn of(key: &SigningKey) -> Result<Self, TlsError> {
        let mut pkcs8 = Zeroizing::new([0; 48]);
        pkcs8[..16].copy_from_slice(&pem::PRIVATE);
        pkcs8[16..].copy_from_slice(&*key.seed());
        Self::from_pkcs8(&*pkcs8)
    }

    /// The identity of a key that is kept elsewhere, by its certificate (DER) and whoever signs for it.
    ///
    /// # Errors
    /// [`TlsError::Setup`] if that is no certificate of an Ed25519 key.
    pub fn elsewhere(certificate: Vec<u8>, sign: Arc<Sign>) -> Result<Self, TlsError> {
        let certificate = CertificateDer::from(certificate);
        let key = key_of(&certificate).map_err(TlsError::Setup)?;
        let certified = CertifiedKey::new(vec![certificate], Arc::new(Elsewhere(sign)));
        Ok(Self { certified: Arc::new(certified), key })
    }

    /// The public key: who this is.
    #[must_use]
    pub const fn key(&self) -> RawKey {
        self.key
    }

    /// The certificate (DER), for programs of others.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        self.certified.cert.first().map_or(&[], |certificate| certificate)
    }

    fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(CertifiedKey::clone(&self.certified)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// What a server speaks with: it asks for a key, takes any that is proven, and serves those without one too.
///
/// # Errors
/// [`TlsError`] if the library does not take the settings.
pub fn server(identity: &Identity) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let verifier = Arc::new(AnyIdentity(Arc::clone(&provider)));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Setup)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(identity.resolver());
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Every connection proves its key anew: nothing to keep, to rotate or to leak.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// What a client speaks with: the server must hold `pinned`. Without an identity of its own it is anonymous.
///
/// # Errors
/// [`TlsError`] if the library does not take the settings.
pub fn client(pinned: RawKey, identity: Option<&Identity>) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = Arc::new(Pinned { key: pinned, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// The name a client gives to the library; it is not sent.
#[must_use]
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("the name is one of DNS")
}

/// The Ed25519 key in a certificate (DER).
///
/// # Errors
/// What is wrong with the certificate, in TLS's terms.
pub fn key_of(certificate: &CertificateDer<'_>) -> Result<RawKey, RustlsError> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let spki = parsed.subject_public_key_info();
    spki.strip_prefix(&pem::PUBLIC)
        .and_then(|key| key.try_into().ok())
        .ok_or(RustlsError::InvalidCertificate(CertificateError::BadEncoding))
}

/// Neither side is spoken to with anything but Ed25519 over TLS 1.3.
fn verify(
    provider: &CryptoProvider,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, RustlsError> {
    verify_tls13_signature(message, certificate, signed, &provider.signature_verification_algorithms)
}

fn refuse_tls12() -> Result<HandshakeSignatureValid, RustlsError> {
    Err(RustlsError::General("TLS 1.2 is not spoken".to_owned()))
}

/// Takes every well-formed certificate of an Ed25519 key; that the key is held is what the handshake proves.
#[derive(Debug)]
struct AnyIdentity(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyIdentity {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, RustlsError> {
        key_of(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify(&self.0, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Takes one key only.
#[derive(Debug)]
struct Pinned {
    key: RawKey,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        if key_of(end_entity)? == self.key {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(RustlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify(&self.provider, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, 10.3: a private key of version 1.
    const RFC_8410: [u8; 48] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20, 0xd4,
        0xee, 0x72, 0xdb, 0xf9, 0x13, 0x58, 0x4a, 0xd5, 0xb6, 0xd8, 0xf1, 0xf7, 0x69, 0xf8, 0xad, 0x3a, 0xfe,
        0x7c, 0x28, 0xcb, 0xf1, 0xd4, 0xfb, 0xe0, 0x97, 0xa8, 0x8f, 0x44, 0x75, 0x58, 0x42,
    ];
    /// RFC 8410, 10.1: its public key.
    const RFC_8410_PUBLIC: RawKey = [
        0x19, 0xbf, 0x44, 0x09, 0x69, 0x84, 0xcd, 0xfe, 0x85, 0x41, 0xba, 0xc1, 0x67, 0xdc, 0x3b, 0x96, 0xc8,
        0x50, 0x86, 0xaa, 0x30, 0xb6, 0xb6, 0xcb, 0x0c, 0x5c, 0x38, 0xad, 0x70, 0x31, 0x66, 0xe1,
    ];

    #[test]
    fn a_key_is_the_same_before_and_after_its_certificate() {
        let identity = Identity::from_pkcs8(&RFC_8410).unwrap();
        assert_eq!(identity.key(), RFC_8410_PUBLIC);
        let certificate = CertificateDer::from(identity.certificate());
        assert_eq!(key_of(&certificate), Ok(RFC_8410_PUBLIC));
        assert_eq!(Identity::from_pkcs8(&RFC_8410).unwrap().certificate(), identity.certificate());
    }

    #[test]
    fn what_is_no_ed25519_key_is_refused() {
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        assert!(matches!(Identity::from_pkcs8(other.serialized_der()), Err(TlsError::Key(_))));
        assert!(matches!(Identity::from_pkcs8(&[]), Err(TlsError::Key(_))));
        let params = rcgen::CertificateParams::new([NAME.to_owned()]).unwrap();
        let certificate = params.self_signed(&other).unwrap();
        assert!(key_of(certificate.der()).is_err());
    }

    #[test]
    fn the_hybrid_key_exchange_comes_first() {
        let first = provider().kx_groups.first().map(|group| group.name());
        assert_eq!(first, Some(rustls::NamedGroup::X25519MLKEM768));
    }
}
