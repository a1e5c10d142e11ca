//! What is edited: the concepts, the settings of each kind of edit, and where in a portrait an attribute is.

/// A kind of edit; each has settings of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A detail of the face: a smile, freckles.
    Face,
    /// A small thing that is worn: glasses, earrings.
    Object,
    /// What covers much of the figure: a beard, a scarf.
    Large,
    /// A hat: so large that it must come early.
    Hat,
    /// What the whole head is: old, bald.
    Head,
    /// What is behind the figure.
    Place,
    /// How the picture is made.
    Style,
}

/// The settings of a concept's block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Settings {
    pub(crate) strength: f64,
    /// In percent.
    pub(crate) threshold: f64,
    /// In percent of the steps, so that it means the same at any number of them.
    pub(crate) warmup: f64,
}

const fn settings(strength: f64, threshold: f64, warmup: f64) -> Settings {
    Settings { strength, threshold, warmup }
}

impl Kind {
    /// What it is called in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Face => "face detail",
            Self::Object => "small object",
            Self::Large => "beard, scarf",
            Self::Hat => "hat",
            Self::Head => "hair and age",
            Self::Place => "place",
            Self::Style => "style",
        }
    }

    /// The settings with which a concept of this kind is added.
    pub(crate) fn plus(self) -> Settings {
        match self {
            Self::Face | Self::Object => settings(4.0, 95.0, 20.0),
            Self::Large => settings(5.0, 95.0, 20.0),
            Self::Hat => settings(4.0, 95.0, 10.0),
            Self::Head => settings(5.0, 95.0, 15.0),
            Self::Place => settings(4.0, 85.0, 0.0),
            Self::Style => settings(4.0, 50.0, 20.0),
        }
    }

    /// The settings with which a concept of this kind is taken away: no warm-up, as the prompt asks for it from the start,
    /// and a strength of twice the guidance scale, with which the prompt asks.
    pub(crate) fn minus(self) -> Settings {
        match self {
            Self::Face | Self::Object | Self::Hat | Self::Head => settings(11.0, 95.0, 0.0),
            Self::Large => settings(14.0, 90.0, 0.0),
            Self::Place | Self::Style => settings(10.0, 70.0, 0.0),
        }
    }
}

/// Something that can be added to a portrait or taken from it.
#[derive(Debug, PartialEq)]
pub(crate) struct Concept {
    /// Its name in recipes.
    pub(crate) name: &'static str,
    /// Its text in recipes, and the phrase with which a prompt asks for it.
    pub(crate) text: &'static str,
    /// The attribute in which the oracle looks for it.
    pub(crate) group: &'static str,
    /// The attribute's value that shows it.
    pub(crate) value: &'static str,
    /// The kind of edit.
    pub(crate) kind: Kind,
    /// Whether it is also taken away.
    pub(crate) minus: bool,
    /// Whether it also stands for its kind: in the quick form, in plots, on the sheet, and wherever something is varied.
    pub(crate) core: bool,
}

const fn concept(
    name: &'static str,
    text: &'static str,
    group: &'static str,
    value: &'static str,
    kind: Kind,
) -> Concept {
    Concept { name, text, group, value, kind, minus: false, core: false }
}

impl Concept {
    const fn core(mut self) -> Self {
        self.core = true;
        self
    }

    const fn minus(mut self) -> Self {
        self.minus = true;
        self
    }
}

/// Every concept that is measured.
pub(crate) const CONCEPTS: &[Concept] = &[
    concept("glasses", "glasses", "glasses", "glasses", Kind::Object).core().minus(),
    concept("sunglasses", "sunglasses", "glasses", "sunglasses", Kind::Object).minus(),
    concept("smile", "smile", "mouth", "smile", Kind::Face).core().minus(),
    concept("frown", "frown", "mouth", "frown", Kind::Face),
    concept("open", "open mouth", "mouth", "open", Kind::Face),
    concept("lipstick", "lipstick", "lipstick", "yes", Kind::Face).minus(),
    concept("freckles", "freckles", "freckles", "yes", Kind::Face).minus(),
    concept("beard", "a beard", "beard", "yes", Kind::Large).core().minus(),
    concept("earrings", "earrings", "earrings", "yes", Kind::Object).minus(),
    concept("scarf", "a scarf", "scarf", "yes", Kind::Large).minus(),
    concept("crown", "a crown", "hat", "crown", Kind::Hat).core().minus(),
    concept("tophat", "a top hat", "hat", "top hat", Kind::Hat),
    concept("cap", "a cap", "hat", "cap", Kind::Hat),
    concept("beanie", "a beanie", "hat", "beanie", Kind::Hat),
    concept("old", "old", "old", "yes", Kind::Head),
    concept("long", "long hair", "hair", "long", Kind::Head),
    concept("curly", "curly hair", "hair", "curly", Kind::Head),
    concept("bald", "bald", "hair", "bald", Kind::Head),
    concept("night", "at night", "place", "night", Kind::Place).core().minus(),
    concept("forest", "in a forest", "place", "forest", Kind::Place),
    concept("beach", "at the beach", "place", "beach", Kind::Place),
    concept("sketch", "a pencil sketch", "style", "pencil sketch", Kind::Style).core(),
    concept("sepia", "sepia", "style", "sepia", Kind::Style),
    concept("neon", "neon", "style", "neon", Kind::Style),
];

/// Concepts that go together, by name: two, three and four at once.
pub(crate) const TOGETHER: [&[&[&str]]; 3] = [
    &[
        &["glasses", "crown"],
        &["smile", "sunglasses"],
        &["beard", "cap"],
        &["earrings", "scarf"],
        &["lipstick", "beanie"],
        &["tophat", "night"],
        &["freckles", "forest"],
        &["glasses", "beach"],
    ],
    &[
        &["glasses", "crown", "beard"],
        &["smile", "sunglasses", "scarf"],
        &["lipstick", "earrings", "beach"],
        &["beard", "cap", "night"],
        &["freckles", "tophat", "scarf"],
        &["open", "beanie", "forest"],
        &["glasses", "earrings", "night"],
        &["smile", "crown", "scarf"],
    ],
    &[
        &["glasses", "crown", "beard", "scarf"],
        &["smile", "sunglasses", "earrings", "beach"],
        &["lipstick", "glasses", "tophat", "night"],
        &["freckles", "cap", "scarf", "forest"],
        &["beard", "sunglasses", "beanie", "earrings"],
        &["open", "crown", "freckles", "night"],
        &["frown", "glasses", "scarf", "beach"],
        &["smile", "cap", "beard", "earrings"],
    ],
];

/// The concept of a name.
pub(crate) fn named(name: &str) -> Option<&'static Concept> {
    CONCEPTS.iter().find(|concept| concept.name == name)
}

/// A part of the picture: left, top, right, bottom, as shares of its sides.
pub(crate) type Region = [f64; 4];

/// Where an attribute shows, with room for the figure's shift: outside of it an edit should change nothing.
///
/// A place is all around the face; a style is everywhere.
pub(crate) fn regions(group: &str) -> &'static [Region] {
    match group {
        "glasses" => &[[0.18, 0.38, 0.82, 0.62]],
        "mouth" | "lipstick" => &[[0.32, 0.60, 0.68, 0.83]],
        "beard" => &[[0.18, 0.52, 0.82, 0.92]],
        "freckles" => &[[0.22, 0.53, 0.78, 0.70]],
        "earrings" => &[[0.12, 0.56, 0.30, 0.74], [0.70, 0.56, 0.88, 0.74]],
        "scarf" => &[[0.22, 0.78, 0.78, 1.0]],
        "hat" => &[[0.14, 0.0, 0.97, 0.40]],
        "old" => &[[0.28, 0.31, 0.72, 0.48], [0.26, 0.58, 0.74, 0.81]],
        "hair" => &[[0.05, 0.0, 0.95, 0.50], [0.05, 0.50, 0.30, 1.0], [0.70, 0.50, 0.95, 1.0]],
        "place" => &[[0.0, 0.0, 1.0, 0.28], [0.0, 0.28, 0.26, 1.0], [0.74, 0.28, 1.0, 1.0], [0.26, 0.82, 0.74, 1.0]],
        _ => &[[0.0, 0.0, 1.0, 1.0]],
    }
}
