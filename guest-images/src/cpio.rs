//! Reproducible newc cpio archives (Documentation/driver-api/early-userspace/
//! buffer-format.rst of the Linux kernel), uncompressed: the kernel unpacks
//! them faster than any compressed form.

use thiserror::Error;

/// Why an archive could not be written.
#[derive(Debug, Error)]
pub enum CpioError {
    /// newc sizes have 32 bits.
    #[error("{path} is too large for a cpio archive ({len} bytes, at most 4 GiB - 1)")]
    TooLarge {
        /// Path in the archive.
        path: String,
        /// Size in bytes.
        len: usize,
    },
    /// A path that cannot be stored.
    #[error("bad guest path {0:?}: it must be absolute, without \"..\" and without NUL")]
    BadPath(String),
}

/// File type bits of `st_mode` (POSIX).
pub(crate) const S_IFDIR: u32 = 0o040_000;
pub(crate) const S_IFREG: u32 = 0o100_000;
pub(crate) const S_IFLNK: u32 = 0o120_000;
pub(crate) const S_IFCHR: u32 = 0o020_000;

/// Writes one archive: owner 0:0, time 0, inode numbers in order of writing.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    inode: u32,
}

impl Writer {
    /// A directory.
    ///
    /// # Errors
    /// See [`CpioError`].
    pub fn dir(&mut self, path: &str, mode: u32) -> Result<(), CpioError> {
        self.entry(path, S_IFDIR | mode, 2, (0, 0), &[])
    }

    /// A regular file.
    ///
    /// # Errors
    /// See [`CpioError`].
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> Result<(), CpioError> {
        self.entry(path, S_IFREG | mode, 1, (0, 0), data)
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// See [`CpioError`].
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), CpioError> {
        self.entry(path, S_IFLNK | 0o777, 1, (0, 0), target.as_bytes())
    }

    /// A character device node.
    ///
    /// # Errors
    /// See [`CpioError`].
    pub fn char_device(&mut self, path: &str, mode: u32, dev: (u32, u32)) -> Result<(), CpioError> {
        self.entry(path, S_IFCHR | mode, 1, dev, &[])
    }

    fn entry(
        &mut self,
        path: &str,
        mode: u32,
        links: u32,
        device: (u32, u32),
        data: &[u8],
    ) -> Result<(), CpioError> {
        if path.is_empty() || path.contains('\0') || path.starts_with('/') {
            return Err(CpioError::BadPath(path.to_string()));
        }
        self.inode += 1;
        let inode = self.inode;
        self.record(path, [inode, mode, links], device, data)
    }

    fn record(
        &mut self,
        path: &str,
        [inode, mode, links]: [u32; 3],
        device: (u32, u32),
        data: &[u8],
    ) -> Result<(), CpioError> {
        let size = u32::try_from(data.len()).map_err(|_| CpioError::TooLarge {
            path: path.to_string(),
            len: data.len(),
        })?;
        let name_size = path.len() as u32 + 1;
        let fields = [
            inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0,
        ];
        self.out.extend_from_slice(b"070701");
        for field in fields {
            self.out
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.out.extend_from_slice(path.as_bytes());
        self.out.push(0);
        self.pad(4);
        self.out.extend_from_slice(data);
        self.pad(4);
        Ok(())
    }

    fn pad(&mut self, to: usize) {
        self.out.resize(self.out.len().next_multiple_of(to), 0);
    }

    /// Ends the archive, padded to 512 bytes so that another may follow.
    pub fn finish(mut self) -> Vec<u8> {
        // The trailer's fields are all in range.
        let _ = self.record("TRAILER!!!", [0, 0, 1], (0, 0), &[]);
        self.pad(512);
        self.out
    }
}
