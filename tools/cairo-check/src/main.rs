//! Reads Cairo code from standard input and writes one JSON object to standard output:
//! `{"errors": [{"line": 3, "column": 7, "message": "…"}]}`, without errors `{"errors": []}`.
//!
//! Code may be the items of a file, or statements such as those in the body of a function: documentation often shows
//! these alone. If it is neither, the errors are those of the reading with fewer of them. Lines and columns count from 1,
//! columns in characters. Only the syntax is checked: no name is looked up and nothing is compiled.

use std::io::{Read, Write, stdin, stdout};
use std::process::ExitCode;

use cairo_lang_diagnostics::{DiagnosticEntry, Severity};
use cairo_lang_filesystem::ids::{FileId, FileKind, FileLongId, SmolStrId, VirtualFile};
use cairo_lang_parser::db::ParserGroup;
use cairo_lang_parser::utils::SimpleParserDatabase;
use cairo_lang_utils::Intern;
use serde_json::{Value, json};

/// The largest code that is read, in bytes.
const MOST_BYTES: u64 = 256 * 1024;
/// The largest number of errors that are written.
const MOST_ERRORS: usize = 20;

fn main() -> ExitCode {
    let mut code = String::new();
    let read = stdin().take(MOST_BYTES + 1).read_to_string(&mut code);
    if read.is_err() || code.len() as u64 > MOST_BYTES {
        eprintln!("standard input is not UTF-8, or is longer than {MOST_BYTES} bytes");
        return ExitCode::from(2);
    }
    let files = SimpleParserDatabase::default();
    let mut errors = errors_of(&files, &code, FileKind::Module);
    if !errors.is_empty() {
        let others = errors_of(&files, &code, FileKind::StatementList);
        if others.len() < errors.len() {
            errors = others;
        }
    }
    errors.truncate(MOST_ERRORS);
    match writeln!(stdout(), "{}", json!({ "errors": errors })) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The errors in the code, read as the given kind of file, in order.
fn errors_of(files: &SimpleParserDatabase, code: &str, kind: FileKind) -> Vec<Value> {
    let file: FileId<'_> = FileLongId::Virtual(VirtualFile {
        parent: None,
        name: SmolStrId::from(files, "code"),
        content: SmolStrId::from(files, code),
        code_mappings: [].into(),
        kind,
        original_item_removed: false,
    })
    .intern(files);
    let mut found: Vec<(usize, Value)> = files
        .file_syntax_diagnostics(file)
        .get_all()
        .iter()
        .filter(|one| one.severity() == Severity::Error)
        .map(|one| {
            let start = one.location(files).span.start.as_u32() as usize;
            let before = &code[..start.min(code.len())];
            let line = before.matches('\n').count() + 1;
            let column = before
                .rsplit('\n')
                .next()
                .unwrap_or_default()
                .chars()
                .count()
                + 1;
            (
                start,
                json!({ "line": line, "column": column, "message": one.format(files) }),
            )
        })
        .collect();
    found.sort_by_key(|one| one.0);
    found.into_iter().map(|one| one.1).collect()
}
