//! What holds the project together beside the code's behaviour: which module may use which, and
//! that documents, dashboard and examples speak of things that exist. Needs no broker.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's helpers fail the test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use hareway::telemetry::metrics::{
    DELIVERY_OUTCOMES, IDEMPOTENCY_OUTCOMES, PUBLISH_OUTCOMES, REPLY_OUTCOMES,
};

/// From the ground up: a module may use its own layer and those before it.
const LAYERS: [&[&str]; 6] = [
    &[
        "buffer",
        "config",
        "message",
        "policy",
        "task",
        "telemetry",
        "template",
    ],
    &["amqp", "server", "store"],
    &["admin", "egress", "ingress"],
    &["app", "shutdown"],
    &["cli"],
    &["main", "lib"],
];
/// They get what they need from `app`, never from each other.
const STRANGERS: [&str; 3] = ["admin", "egress", "ingress"];

// === modules ===

#[test]
fn dependencies_point_down() {
    let sources = files("src", "rs");
    assert!(sources.len() > 10, "the sources were not found");
    let wrong: Vec<String> = sources
        .iter()
        .flat_map(|path| {
            let module = module_of(path);
            let used = used_modules(&read(path));
            let place = path.display().to_string();
            used.into_iter()
                .filter_map(move |other| objection(&module, &other))
                .map(move |objection| format!("{place}: {objection}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_rule_sees_every_form_of_use_and_every_wrong_arrow() {
    let source = "use crate::{\n    config::{Config, model::{Route}},\n    egress,\n};\n\
                  // use crate::cli;\nfn f() { crate::app::run(); }\npub(crate) use crate::policy::Backoff;";
    let used = used_modules(source);
    assert_eq!(
        used,
        ["app", "config", "egress", "policy"]
            .map(str::to_owned)
            .into()
    );
    assert!(
        objection("amqp", "ingress").is_some(),
        "upward from the broker"
    );
    assert!(
        objection("config", "amqp").is_some(),
        "upward from the ground"
    );
    assert!(objection("ingress", "egress").is_some(), "sideways");
    assert!(
        objection("ingress", "nonsense").is_some(),
        "a module without a layer"
    );
    assert!(objection("ingress", "amqp").is_none(), "downward");
    assert!(
        objection("message", "template").is_none(),
        "within the ground"
    );
}

fn objection(module: &str, used: &str) -> Option<String> {
    let (Some(own), Some(other)) = (layer(module), layer(used)) else {
        return Some(format!("`{module}` or `{used}` has no layer yet"));
    };
    let strangers = module != used && STRANGERS.contains(&module) && STRANGERS.contains(&used);
    (other > own || strangers).then(|| format!("`{module}` must not use `{used}`"))
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// `src/ingress/router.rs` belongs to `ingress`.
fn module_of(path: &Path) -> String {
    let below = path.strip_prefix(root().join("src")).expect("a source");
    let first = below.iter().next().expect("a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules behind each `crate::`, grouped or not.
fn used_modules(source: &str) -> BTreeSet<String> {
    let code: Vec<&str> = source
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let code = code.join("\n");
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => found.extend(leading_name(rest)),
            Some(group) => found.extend(top_names(group)),
        }
    }
    // Macros and items of the crate's root are no modules.
    found.retain(|name| !name.is_empty() && name != "Error");
    found
}

fn top_names(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = Vec::new();
    let mut fresh = true;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            other if fresh && !other.is_whitespace() => {
                names.extend(leading_name(group.get(at..).unwrap_or_default()));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn leading_name(text: &str) -> Option<String> {
    let end = text
        .find(|character: char| !(character.is_alphanumeric() || character == '_'))
        .unwrap_or(text.len());
    text.get(..end).map(str::to_owned)
}

// === metrics ===

#[test]
fn every_query_of_the_dashboard_names_a_metric_that_exists() {
    let known = defined_metrics();
    let dashboard: serde_json::Value = serde_json::from_str(&read(
        &root().join("docker/grafana/dashboards/hareway.json"),
    ))
    .expect("the dashboard is JSON");
    let mut queries = Vec::new();
    collect_queries(&dashboard, &mut queries);
    assert!(queries.len() > 15, "the queries were not found");
    let shown: BTreeSet<String> = queries
        .iter()
        .flat_map(|query| families(query, &known))
        .collect();
    let hidden: Vec<_> = known.keys().filter(|name| !shown.contains(*name)).collect();
    assert!(hidden.is_empty(), "no panel shows {hidden:?}");
}

#[test]
fn every_alert_names_metrics_that_exist_and_is_tried_and_explained() {
    let known = defined_metrics();
    let docker = root().join("docker");
    let rules = alerts(&read(&docker.join("alerts.yml")));
    assert!(rules.len() > 8, "the alerts were not found");
    let cases = read(&docker.join("alerts.test.yml"));
    let handbook = read(&root().join("docs/operations.md"));
    for (name, query) in &rules {
        families(query, &known);
        let own = query.contains("up{job=\"hareway\"}") || !metric_names(query).is_empty();
        assert!(own, "{name} asks for no metric of ours: {query}");
        assert!(
            fires(&cases, name),
            "alerts.test.yml has no case in which {name} fires"
        );
        let row = format!("| `{name}` |");
        assert!(handbook.contains(&row), "the handbook has no row {row}");
    }
    let mounts = read(&docker.join("compose.yml"));
    assert!(mounts.contains("./alerts.yml:/etc/prometheus/alerts.yml:ro"));
}

/// Each alert's name and query.
fn alerts(text: &str) -> Vec<(String, String)> {
    let file: serde_json::Value = serde_yaml::from_str(text).expect("the alerts are YAML");
    let groups = file["groups"].as_array().expect("groups");
    let rules = groups.iter().flat_map(|group| group["rules"].as_array());
    rules
        .flatten()
        .map(|rule| {
            let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
            (text("alert"), text("expr"))
        })
        .collect()
}

fn fires(cases: &str, alert: &str) -> bool {
    let file: serde_json::Value = serde_yaml::from_str(cases).expect("the cases are YAML");
    let tests = file["tests"].as_array().expect("tests");
    let cases = tests
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array());
    cases.flatten().any(|case| {
        let expected = case["exp_alerts"].as_array();
        case["alertname"] == alert && expected.is_some_and(|alerts| !alerts.is_empty())
    })
}

#[test]
fn the_handbook_lists_exactly_the_metrics_and_outcomes_that_exist() {
    let text = read(&root().join("docs/operations.md"));
    let known = defined_metrics();
    let named: BTreeSet<String> = text
        .lines()
        .filter(|line| line.starts_with("| `hareway_"))
        .flat_map(|line| metric_names(line.split('|').nth(1).unwrap_or_default()))
        .collect();
    let defined: BTreeSet<String> = known.keys().cloned().collect();
    assert_eq!(named, defined);
    for outcome in PUBLISH_OUTCOMES
        .iter()
        .chain(&DELIVERY_OUTCOMES)
        .chain(&REPLY_OUTCOMES)
        .chain(&IDEMPOTENCY_OUTCOMES)
    {
        assert!(
            text.contains(&format!("`{outcome}`")),
            "the outcome `{outcome}` is not explained"
        );
    }
}

/// Name → whether it is a histogram, read from the one file that defines metrics, and from the one
/// that makes them.
fn defined_metrics() -> BTreeMap<String, bool> {
    let folder = root().join("src/telemetry/metrics");
    let definitions = read(&folder.join("families.rs"));
    let source = read(&folder.join("mod.rs"));
    let found: BTreeMap<String, bool> = definitions
        .split("const ")
        .skip(1)
        .filter_map(|definition| {
            let (constant, rest) = definition.split_once(": Definition = ")?;
            let (_, after) = rest.split_once("name: \"")?;
            let (name, _) = after.split_once('"')?;
            let histogram = source.contains(&format!("family.histograms(families::{constant})"));
            Some((name.to_owned(), histogram))
        })
        .collect();
    assert!(found.len() > 10, "the definitions were not found");
    found
}

fn family_of(name: &str, known: &BTreeMap<String, bool>) -> Option<String> {
    if known.get(name) == Some(&false) {
        return Some(name.to_owned());
    }
    ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix))
        .find(|family| known.get(*family) == Some(&true))
        .map(str::to_owned)
}

/// The families that a query asks for; all of them must exist.
fn families(query: &str, known: &BTreeMap<String, bool>) -> BTreeSet<String> {
    let names = metric_names(query).into_iter();
    names
        .map(|name| {
            family_of(&name, known).unwrap_or_else(|| panic!("`{name}` is not defined: {query}"))
        })
        .collect()
}

fn metric_names(text: &str) -> Vec<String> {
    text.match_indices("hareway_")
        .filter_map(|(at, _)| leading_name(text.get(at..)?))
        .collect()
}

fn collect_queries(value: &serde_json::Value, queries: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, member) in members {
                match member {
                    serde_json::Value::String(text) if name == "expr" || name == "query" => {
                        queries.push(text.clone());
                    }
                    other => collect_queries(other, queries),
                }
            }
        }
        serde_json::Value::Array(items) => {
            for item in items {
                collect_queries(item, queries);
            }
        }
        _ => {}
    }
}

// === documents ===

#[test]
fn links_in_the_documents_lead_somewhere() {
    let pages = files("", "md");
    assert!(pages.len() > 5, "the documents were not found");
    let mut broken = Vec::new();
    for page in &pages {
        let text = read(page);
        for target in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = match file {
                "" => page.clone(),
                file => page.parent().expect("a folder").join(file),
            };
            let anchored = anchor.is_empty()
                || (path.is_file() && anchors(&read(&path)).contains(&anchor.to_owned()));
            if !path.exists() || !anchored {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_error_that_a_caller_may_get_is_in_the_table() {
    let text = read(&root().join("docs/errors.md"));
    for kind in hareway::server::Kind::ALL {
        let row = kind.row();
        let start = format!("| {} | `urn:hareway:{}` |", row.status.as_u16(), row.name);
        assert!(text.contains(&start), "no row begins with {start}");
    }
}

/// Inline links outside code.
fn links(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect();
        let ends = prose.split("](").skip(1);
        found.extend(ends.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())));
    }
    found
}

fn anchors(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|character| character.is_alphanumeric() || " -_".contains(*character))
                .map(|character| if character == ' ' { '-' } else { character })
                .collect()
        })
        .collect()
}

// === files ===

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files with this extension below a folder of the project; hidden and built ones left out.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') || name == "target" || name == "data" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
