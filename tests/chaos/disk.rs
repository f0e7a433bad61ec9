//! A disk of a few megabytes, to be filled.

use std::{
    fs::File,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::lifeline::Guard;

/// Unmounted with the value, or with the process.
#[derive(Debug)]
pub struct Tmpfs {
    path: PathBuf,
    _guard: Guard,
}

impl Tmpfs {
    /// At `path`, which is made.
    pub fn mount(path: PathBuf, size: &str) -> Self {
        std::fs::create_dir_all(&path).expect("a folder");
        let options = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "hareway-test"])
            .arg(&path)
            .status();
        assert!(mount.expect("mount starts").success(), "mount {path:?}");
        let text = path.to_str().expect("UTF-8").to_owned();
        let guard = Guard::new(r#"umount -l "$1""#, &[&text]);
        Self {
            path,
            _guard: guard,
        }
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file");
        let mut size = 64 * 1024;
        while size > 0 {
            if file.write_all(&vec![0; size]).is_err() {
                size /= 2;
            }
        }
    }

    pub fn clear(&self) {
        std::fs::remove_file(self.filler()).expect("the filler");
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

/// Mounts and network namespaces are for root.
pub fn is_root() -> bool {
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|found| found.uid() == 0)
}
