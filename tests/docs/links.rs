//! Links between pages lead somewhere: the file is there, and so is the heading.

use std::collections::BTreeMap;

use crate::pages::{all, below, read, root};

/// The links of a page that lead to files, with the text outside of code alone.
fn links(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let prose: String = prose.split('`').step_by(2).collect();
    let targets = prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
    let images = prose.split("src=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    targets.chain(images).map(str::to_owned).collect()
}

/// The anchors that GitHub makes of headings, and those that the page names itself.
fn anchors(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let mut seen = BTreeMap::<String, usize>::new();
    let mut anchors = Vec::new();
    for heading in headings {
        let anchor = anchor(heading.trim_start_matches('#').trim());
        let before = seen.entry(anchor.clone()).or_default();
        anchors.push(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    anchors.extend(prose.split("<a id=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    anchors
}

/// Lower case, without signs, with hyphens for spaces.
fn anchor(heading: &str) -> String {
    // A link in a heading counts by its text.
    let mut text = String::new();
    let mut rest = heading;
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    let kept =
        text.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    kept.replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in all() {
        for link in links(&read(&page)) {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let folder = root().join(&page).parent().unwrap().to_owned();
            let target = if file.is_empty() { root().join(&page) } else { folder.join(file) };
            let there = target.exists();
            let text = if there && target.is_file() { std::fs::read_to_string(&target).ok() } else { None };
            let named =
                heading.is_empty() || text.is_some_and(|text| anchors(&text).iter().any(|it| it == heading));
            if !there || !named {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_of_docs_is_reached_from_the_index() {
    let index = links(&read("docs/index.md"));
    let lost: Vec<String> = below("docs/")
        .into_iter()
        .filter(|page| page != "docs/index.md")
        .filter(|page| !index.iter().any(|link| format!("docs/{}", link.split('#').next().unwrap()) == *page))
        .collect();
    assert!(lost.is_empty(), "docs/index.md leads to none of {lost:?}");
}

#[test]
fn anchors_are_those_of_the_reader() {
    assert_eq!(anchor("`[registry.<name>.file]`"), "registryname".to_owned() + "file");
    assert_eq!(anchor("503: nobody answers"), "503-nobody-answers");
    assert_eq!(anchor("[0.1.0](https://example.com) - 2026"), "010---2026");
}
