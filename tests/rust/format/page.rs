//! docs/format.md as data: its tables, its byte layouts, its hex blocks.

use std::fmt::Write;

/// The page's text.
pub struct Page(String);

/// One row of a byte table.
pub struct Field {
    pub offset: usize,
    pub bytes: usize,
    pub name: String,
}

/// A byte table: fields without gaps.
pub struct Layout(pub Vec<Field>);

impl Page {
    pub fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/format.md");
        Self(std::fs::read_to_string(path).unwrap())
    }

    /// What stands under `heading`, up to the next heading.
    pub fn section(&self, heading: &str) -> &str {
        let at = ["## ", "### "].iter().find_map(|mark| self.0.split_once(&format!("\n{mark}{heading}\n")));
        let (_, text) = at.unwrap_or_else(|| panic!("docs/format.md has no heading {heading:?}"));
        text.split_once("\n#").map_or(text, |(section, _next)| section)
    }

    /// The cells of the first table under `heading`, without backticks.
    pub fn table(&self, heading: &str) -> Vec<Vec<String>> {
        let lines = self.section(heading).lines().skip_while(|line| !line.starts_with('|'));
        let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
        let cells = |line: &str| {
            line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>()
        };
        let rows: Vec<_> = rows.map(cells).collect();
        assert!(!rows.is_empty(), "no table under {heading:?}");
        rows
    }

    /// The byte table under `heading`.
    pub fn layout(&self, heading: &str) -> Layout {
        let rows = self.table(heading).into_iter().map(|row| Field {
            offset: number(&row[0]),
            bytes: number(&row[1]),
            name: row[2].clone(),
        });
        let layout = Layout(rows.collect());
        let mut end = 0;
        for field in &layout.0 {
            assert_eq!(field.offset, end, "{heading}: a gap or an overlap before {}", field.name);
            end += field.bytes;
        }
        layout
    }

    /// The bytes of the hex block under `heading`; each line begins with its offset.
    pub fn hex(&self, heading: &str) -> Vec<u8> {
        let section = self.section(heading);
        let block = section.split("```hex\n").nth(1).unwrap().split("```").next().unwrap();
        let mut bytes = Vec::new();
        for line in block.lines() {
            let mut words = line.split_whitespace();
            assert_eq!(words.next().unwrap().parse(), Ok(bytes.len()), "the offset before {line:?}");
            bytes.extend(words.map(|word| u8::from_str_radix(word, 16).unwrap()));
        }
        bytes
    }
}

impl Layout {
    pub fn bytes(&self) -> usize {
        self.0.last().map_or(0, |field| field.offset + field.bytes)
    }

    /// What `bytes` hold in the field `name`.
    pub fn slice<'b>(&self, bytes: &'b [u8], name: &str) -> &'b [u8] {
        let field = self.0.iter().find(|field| field.name == name);
        let field = field.unwrap_or_else(|| panic!("no field {name:?} in the table"));
        &bytes[field.offset..field.offset + field.bytes]
    }

    /// The integer in the field `name`.
    pub fn integer(&self, bytes: &[u8], name: &str) -> u64 {
        let mut wide = [0; 8];
        let field = self.slice(bytes, name);
        wide[..field.len()].copy_from_slice(field);
        u64::from_le_bytes(wide)
    }
}

/// A number as the page writes it: `65,536`.
pub fn number(cell: &str) -> usize {
    cell.replace(',', "").parse().unwrap_or_else(|_| panic!("{cell:?} is no number"))
}

/// Bytes as an example shows them, 16 a line behind their offset.
pub fn hex_block(bytes: &[u8]) -> String {
    let mut text = "```hex\n".to_owned();
    for (line, part) in bytes.chunks(16).enumerate() {
        writeln!(text, "{:3}  {}", line * 16, hex(part)).unwrap();
    }
    text + "```\n"
}

/// Bytes as a row shows them; long runs of zeros are counted.
pub fn hex(bytes: &[u8]) -> String {
    if bytes.len() > 16 && bytes.iter().all(|byte| *byte == 0) {
        return format!("00 × {}", bytes.len());
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
