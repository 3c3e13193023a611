//! The group whose members may use the daemon's socket.

use std::{ffi::CStr, io, mem::MaybeUninit, ptr};

/// Its name.
pub const GROUP: &str = "ringfence";
/// The same, for the C library.
const C_GROUP: &CStr = c"ringfence";

/// Room for the group's members, of whom nothing is read. The C library says if it needs more.
const ROOM: usize = 16 << 10;

/// The id of [`GROUP`]; none if there is no such group.
///
/// The C library is asked, and not /etc/group: a group can also come from a directory service.
///
/// # Errors
/// The C library cannot say.
pub fn id() -> io::Result<Option<u32>> {
    let mut room = vec![0; ROOM];
    loop {
        let mut group = MaybeUninit::<libc::group>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: the name is a zero-terminated string, `room` has the length that is given, and all of them outlive the call.
        let result = unsafe {
            libc::getgrnam_r(C_GROUP.as_ptr(), group.as_mut_ptr(), room.as_mut_ptr(), room.len(), &raw mut found)
        };
        match result {
            // SAFETY: the call has succeeded and found something, so it has filled `group`.
            0 if !found.is_null() => return Ok(Some(unsafe { group.assume_init() }.gr_gid)),
            // getgrnam(3) names these for a group that does not exist.
            0 | libc::ENOENT | libc::ESRCH => return Ok(None),
            libc::ERANGE => room.resize(room.len() * 4, 0),
            libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_the_one_of_etc_group_if_it_is_there() {
        let file = std::fs::read_to_string("/etc/group").unwrap_or_default();
        let line = file.lines().find_map(|line| line.strip_prefix(GROUP)?.strip_prefix(':'));
        let expected = line.and_then(|line| line.split(':').nth(1)?.parse().ok());
        // A directory service may know it where the file does not.
        assert!(expected.is_none() || id().unwrap() == expected);
        assert_eq!(C_GROUP.to_str(), Ok(GROUP));
    }
}
