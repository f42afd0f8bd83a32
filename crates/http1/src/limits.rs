//! What a message may take: bytes and lines. Time is the business of who reads the socket.

/// The largest head whose offsets fit into 16 bits.
pub const HEAD_BYTES_CAP: usize = 65_535;

/// The limits of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    pub(crate) head_bytes_max: usize,
    pub(crate) target_bytes_max: usize,
    pub(crate) fields_max: usize,
}

impl HeadLimits {
    /// Limits for a whole head with its empty line, at most [`HEAD_BYTES_CAP`]; for a request's target; and for the
    /// number of field lines.
    #[must_use]
    pub fn new(head_bytes_max: usize, target_bytes_max: usize, fields_max: usize) -> Self {
        Self { head_bytes_max: head_bytes_max.min(HEAD_BYTES_CAP), target_bytes_max, fields_max }
    }

    /// The longest head, in bytes.
    #[must_use]
    pub const fn head_bytes_max(&self) -> usize {
        self.head_bytes_max
    }

    /// The most field lines.
    #[must_use]
    pub const fn fields_max(&self) -> usize {
        self.fields_max
    }
}

impl Default for HeadLimits {
    /// 32 KiB, a target of 16 KiB, 100 lines.
    fn default() -> Self {
        Self::new(32 * 1024, 16 * 1024, 100)
    }
}

/// The limits of a chunked body beside its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    pub(crate) extension_bytes_max: usize,
    pub(crate) trailer_bytes_max: usize,
    pub(crate) trailers_max: usize,
}

impl BodyLimits {
    /// Limits for the chunk extensions of a whole body; for its trailer section with the empty line, at most
    /// [`HEAD_BYTES_CAP`]; and for the number of trailer lines.
    #[must_use]
    pub fn new(extension_bytes_max: usize, trailer_bytes_max: usize, trailers_max: usize) -> Self {
        Self { extension_bytes_max, trailer_bytes_max: trailer_bytes_max.min(HEAD_BYTES_CAP), trailers_max }
    }
}

impl Default for BodyLimits {
    /// 16 KiB of extensions, 8 KiB and 100 lines of trailers.
    fn default() -> Self {
        Self::new(16 * 1024, 8 * 1024, 100)
    }
}
