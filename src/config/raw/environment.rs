//! Where `${…}` takes its values from.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::Path,
};

/// What is around the process; a trait, so that tests bring their own.
pub trait Environment {
    /// The variable's value, empty ones included.
    fn var(&self, name: &str) -> Option<String>;

    /// A file's text, as it is.
    ///
    /// # Errors
    /// What the system says, or a file that is not UTF-8 or over 4 MiB.
    fn read_file(&self, path: &Path) -> io::Result<String>;
}

/// The process's own environment, which wins, and variables from `--env-file`.
#[derive(Debug, Clone, Default)]
pub struct ProcessEnvironment {
    pub extra: BTreeMap<String, String>,
}

impl Environment for ProcessEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name)
            .ok()
            .or_else(|| self.extra.get(name).cloned())
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        read_bounded(path)
    }
}

/// Larger files are refused.
const SIZE_LIMIT: u64 = 4 * 1024 * 1024;

/// The text of a file of at most 4 MiB.
pub(super) fn read_bounded(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(SIZE_LIMIT + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "the file is larger than 4 MiB",
        ));
    }
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the file is not UTF-8 text"))
}

/// A line of an environment file that is not `KEY=VALUE`. The line itself is not shown, as it may
/// be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct EnvFileError {
    /// From 1.
    pub line: usize,
    pub message: String,
}

/// The variables of an environment file: `KEY=VALUE` lines, `#` comments, optional quotes around
/// the value, and an optional `export`. The last of two equal keys wins, as in a shell.
///
/// # Errors
/// The first line that is none of these.
pub fn parse_env_file(text: &str) -> Result<BTreeMap<String, String>, EnvFileError> {
    let mut variables = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let failed = |message: &str| EnvFileError {
            line: index + 1,
            message: message.to_owned(),
        };
        let line = line
            .strip_prefix("export")
            .filter(|rest| rest.starts_with([' ', '\t']))
            .map_or(line, str::trim_start);
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| failed("this is not `KEY=VALUE`"))?;
        let name = name.trim_end();
        if !is_name(name) {
            return Err(failed(
                "a variable's name has letters, digits and `_`, and no digit first",
            ));
        }
        let value = unquote(value.trim()).ok_or_else(|| {
            failed("the value's quote is not closed, or something stands after it")
        })?;
        variables.insert(name.to_owned(), value);
    }
    Ok(variables)
}

/// Whether this can be a variable's name (POSIX: letters, digits, underscores, no digit first).
pub(super) fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn unquote(value: &str) -> Option<String> {
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let end = value.find(" #").unwrap_or(value.len());
        return value.get(..end).map(|value| value.trim_end().to_owned());
    };
    let (inner, rest) = value.get(1..)?.split_once(quote)?;
    let rest = rest.trim_start();
    (rest.is_empty() || rest.starts_with('#')).then(|| inner.to_owned())
}
