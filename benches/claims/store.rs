//! What has been measured, on disk: a line of JSON for every picture, appended as it comes.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What is known of a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// All logits of the oracle.
    pub(crate) logits: Vec<f32>,
    /// How it differs from the picture before the edit, if it is of an edit.
    pub(crate) change: Option<Change>,
}

/// The mean absolute difference of two pictures' values, of 255.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Over all pixels.
    pub(crate) all: f64,
    /// Over the pixels outside the attribute's region, if any are.
    pub(crate) outside: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    #[serde(flatten)]
    reading: Reading,
}

/// The file of results.
pub(crate) struct Store {
    file: File,
    known: HashMap<String, Arc<Reading>>,
}

impl Store {
    /// Opens a file of results or begins one. A last line that was cut short is cut off: its picture is measured again.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::Start(whole as u64))?;
        let lines = bytes[..whole].split(|byte| *byte == b'\n');
        let known = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        Ok(Self { file, known: known.map(|line| (line.key, Arc::new(line.reading))).collect() })
    }

    /// The reading of a key.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Reading>> {
        self.known.get(key).cloned()
    }

    /// Adds a reading.
    pub(crate) fn add(&mut self, key: String, reading: Reading) -> std::io::Result<()> {
        let line = Line { key, reading };
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        self.file.write_all(text.as_bytes())?;
        self.known.insert(line.key, Arc::new(line.reading));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[allow(unused_imports)]
    use super::*;

    #[test]
    fn a_torn_line_is_measured_again_and_the_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let reading = |logit| Reading {
            logits: vec![logit, -0.1],
            change: Some(Change { all: 1.5, outside: (logit > 1.0).then_some(0.25) }),
        };
        let mut store = Store::open(&path).unwrap();
        store.add("first".into(), reading(1.0)).unwrap();
        store.add("second".into(), reading(2.0)).unwrap();
        drop(store);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();

        let mut store = Store::open(&path).unwrap();
        assert_eq!(*store.get("first").unwrap(), reading(1.0));
        assert!(store.get("second").is_none());
        store.add("second".into(), reading(2.0)).unwrap();
        drop(store);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert_eq!(*Store::open(&path).unwrap().get("second").unwrap(), reading(2.0));
    }
}
