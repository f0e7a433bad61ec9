//! Paths of inbound routes: one form for equal ones, and which cannot stand side by side.

use std::collections::BTreeMap;

use http::Method;
use matchit::InsertError;

/// Paths with their methods, as a configuration claims them; `owner` is whatever tells its routes
/// apart.
#[derive(Default)]
pub struct Claims {
    tree: matchit::Router<()>,
    /// By pattern as the routing tree sees it. A wildcard's bare prefix has no methods of its own.
    owners: BTreeMap<String, Claim>,
}

struct Claim {
    owner: usize,
    methods: Vec<(Option<Method>, usize)>,
}

/// Why a path cannot be claimed; each names the owner of the other route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clash {
    /// The same path and method.
    Same { with: usize },
    /// Overlapping paths, none of which is the narrower one: `/a/{x}` and `/a/{*rest}`.
    Ambiguous { with: usize },
    /// Nothing that can be matched, such as two parameters in one segment.
    Unusable,
}

impl Claims {
    /// Claims a method (`None`: every one) of a path for `owner`.
    ///
    /// A route for every method and one for a named method may share a path, and so may a wildcard
    /// and a route of the path before it: the narrower one is taken.
    ///
    /// # Errors
    /// See [`Clash`]; the claim is not recorded then.
    pub fn claim(
        &mut self,
        method: Option<&Method>,
        pattern: &str,
        owner: usize,
    ) -> Result<(), Clash> {
        let text = normalise_pattern(pattern);
        if let Some(claim) = self.owners.get(&text) {
            let same = |(known, _): &&(Option<Method>, usize)| known.as_ref() == method;
            if let Some((_, with)) = claim.methods.iter().find(same) {
                return Err(Clash::Same { with: *with });
            }
        }
        for text in bare_prefixes(&text) {
            self.plant(text, owner)?;
        }
        let claim = self.plant(text, owner)?;
        claim.methods.push((method.cloned(), owner));
        Ok(())
    }

    fn plant(&mut self, text: String, owner: usize) -> Result<&mut Claim, Clash> {
        if !self.owners.contains_key(&text) {
            self.tree.insert(&text, ()).map_err(|error| match error {
                InsertError::Conflict { with } => match self.owners.get(&with) {
                    Some(claim) => Clash::Ambiguous { with: claim.owner },
                    None => Clash::Unusable,
                },
                _ => Clash::Unusable,
            })?;
        }
        Ok(self.owners.entry(text).or_insert_with(|| Claim {
            owner,
            methods: Vec::new(),
        }))
    }
}

/// Brings a pattern's literal text into the form of [`recode`], and its parameters' names into
/// numbers: two patterns that differ only in names are one to the routing tree.
pub fn normalise_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    let mut count = 0;
    let mut rest = text;
    while let Some(found) = rest.find(['{', '}']) {
        let (literal, tail) = rest.split_at(found);
        encode_literal(literal, &mut pattern);
        if let Some((brace, after)) = tail
            .strip_prefix("{{")
            .map(|after| ("%7B", after))
            .or_else(|| tail.strip_prefix("}}").map(|after| ("%7D", after)))
        {
            // A request has its braces percent-encoded, as RFC 3986 wants it.
            pattern.push_str(brace);
            rest = after;
            continue;
        }
        let Some((name, after)) = tail.strip_prefix('{').and_then(|tail| tail.split_once('}'))
        else {
            rest = tail;
            break;
        };
        let star = if name.starts_with('*') { "*" } else { "" };
        pattern.push_str(&format!("{{{star}p{count}}}"));
        count += 1;
        rest = after;
    }
    encode_literal(rest, &mut pattern);
    pattern
}

/// What `{*rest}` at the end of a normalised pattern matches when it is empty: `/a/{*rest}` is
/// also `/a/` and `/a`.
pub fn bare_prefixes(pattern: &str) -> Vec<String> {
    let Some((prefix, _)) = pattern.rsplit_once("{*") else {
        return Vec::new();
    };
    let shorter = prefix.strip_suffix('/').unwrap_or(prefix);
    let mut prefixes = vec![prefix.to_owned()];
    if !shorter.is_empty() && shorter != prefix {
        prefixes.push(shorter.to_owned());
    }
    prefixes
}

/// Decodes what needs no encoding and writes the rest in capitals (RFC 3986 §6.2.2); `None` where
/// a percent sign is not followed by two hexadecimal digits.
pub fn recode(path: &str) -> Option<String> {
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((literal, tail)) = rest.split_once('%') {
        normal.push_str(literal);
        let digits = tail.get(..2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if is_unreserved(byte) {
            normal.push(char::from(byte));
        } else {
            normal.push_str(&format!("%{byte:02X}"));
        }
        rest = tail.get(2..)?;
    }
    normal.push_str(rest);
    Some(normal)
}

fn encode_literal(literal: &str, pattern: &mut String) {
    let encoded = recode(literal).unwrap_or_else(|| literal.to_owned());
    for byte in encoded.bytes() {
        if byte.is_ascii_graphic() && !b"\"#<>?[]\\^`{}|".contains(&byte) {
            pattern.push(char::from(byte));
        } else {
            pattern.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Claims in turn; the first clash.
    fn clash(routes: &[&str]) -> Option<Clash> {
        let mut claims = Claims::default();
        routes.iter().enumerate().find_map(|(owner, route)| {
            let (method, path) = route.split_once(' ').unwrap();
            let method: Option<Method> = (method != "*").then(|| method.parse().unwrap());
            claims.claim(method.as_ref(), path, owner).err()
        })
    }

    #[test]
    fn the_same_path_and_method_clash_whatever_the_names() {
        let same = Some(Clash::Same { with: 0 });
        assert_eq!(clash(&["GET /o/{id}", "GET /o/{region}"]), same);
        assert_eq!(clash(&["* /a/{*x}", "* /a/{*y}"]), same);
        assert_eq!(clash(&["GET /%6f", "GET /o"]), same);
        assert_eq!(clash(&["GET /ü", "GET /%c3%bc"]), same);
    }

    #[test]
    fn narrower_routes_stand_beside_wider_ones() {
        let routes = ["GET /o/{id}", "POST /o/{region}", "* /o/{x}", "GET /o/new"];
        assert_eq!(clash(&routes), None);
        assert_eq!(clash(&["* /a/{*x}", "* /a", "GET /a/", "GET /a/b"]), None);
        assert_eq!(clash(&["* /a", "* /a/{*x}"]), None);
    }

    #[test]
    fn overlaps_without_a_narrower_side_clash() {
        let ambiguous = Some(Clash::Ambiguous { with: 1 });
        for (a, b) in [
            ("GET /a/{x}", "GET /a/{*rest}"),
            ("POST /a/{*rest}", "GET /a/{x}"),
            ("GET /t/{x}/{*rest}", "GET /t/{*all}"),
        ] {
            assert_eq!(clash(&["GET /b", a, b]), ambiguous, "{a} {b}");
        }
    }

    #[test]
    fn what_cannot_be_matched_is_unusable() {
        for path in ["/a/{x}{y}", "/a/{*x}/b"] {
            assert_eq!(
                clash(&[&format!("GET {path}")]),
                Some(Clash::Unusable),
                "{path}"
            );
        }
    }
}
