//! What names a model on a hub.

use std::fmt;

/// `owner/name`, `owner/name@revision`, and either with `/file.safetensors` for one file of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HubId {
    /// Whose repository it is.
    pub owner: String,
    /// The repository's name.
    pub name: String,
    /// A branch, a tag or a commit; the branch `main` if none is named.
    pub revision: Option<String>,
    /// A single file of it.
    pub file: Option<String>,
}

impl HubId {
    /// The id that a text is, if it can be one: a relative path looks the same, but for its signs (`./`, a file's ending).
    pub fn parse(text: &str) -> Option<Self> {
        let (owner, rest) = text.split_once('/')?;
        let (name, revision, file) = match rest.split_once('@') {
            Some((name, rest)) if is_weights(rest) => {
                let (revision, file) = rest.split_once('/')?;
                (name, Some(revision), Some(file))
            }
            Some((name, revision)) => (name, Some(revision), None),
            None => match rest.split_once('/') {
                Some((name, file)) if is_weights(file) => (name, None, Some(file)),
                Some(_) => return None,
                None if is_weights(rest) || has_old_ending(rest) => return None,
                None => (rest, None, None),
            },
        };
        let is_word = |word: &str| {
            !word.is_empty()
                && !word.starts_with('.')
                && !word.contains("..")
                && !word.contains("--")
                && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        let is_path = |path: &str| {
            path.split('/').all(|part| {
                !part.is_empty() && !part.chars().all(|c| c == '.') && !part.contains(['\\', ':', '?', '#', '%', '@'])
            }) && !path.contains(char::is_control)
        };
        let good = is_word(owner) && is_word(name) && revision.is_none_or(is_path) && file.is_none_or(is_path);
        good.then(|| Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision: revision.map(str::to_owned),
            file: file.map(str::to_owned),
        })
    }

    /// The repository: `owner/name`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The branch, tag or commit.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        if let Some(file) = &self.file {
            write!(f, "/{file}")?;
        }
        Ok(())
    }
}

fn is_weights(path: &str) -> bool {
    path.to_ascii_lowercase().ends_with(".safetensors")
}

fn has_old_ending(path: &str) -> bool {
    [".ckpt", ".pt", ".pth", ".bin"].iter().any(|ending| path.to_ascii_lowercase().ends_with(ending))
}
