//! A script as the commands in it: enough of a shell's grammar for documentation.

/// The commands of a script, each as its words: lines are joined at `\`, comments and redirections are gone.
pub(crate) fn words(script: &str) -> Vec<Vec<String>> {
    let script = script.replace("\\\n", " ");
    script.lines().flat_map(commands).filter(|command| !command.is_empty()).collect()
}

fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut all, mut command, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let (mut quote, mut redirected) = (None, false);
    for next in line.chars() {
        match (quote, next) {
            (Some(open), _) if next == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(next),
            (None, '\'' | '"') => {
                quote = Some(next);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '&' | ';' | ' ' | '\t' | '>' | '<') => {
                // The word behind `>` is a file.
                if let Some(word) = word.take()
                    && !std::mem::take(&mut redirected)
                {
                    command.push(word);
                }
                redirected |= ['>', '<'].contains(&next);
                if ['|', '&', ';'].contains(&next) {
                    all.push(std::mem::take(&mut command));
                }
            }
            (None, _) => word.get_or_insert_default().push(next),
        }
    }
    command.extend(word.filter(|_| !redirected));
    all.push(command);
    all
}

#[test]
fn commands_are_found_in_a_script() {
    let script = "A=b pilot check -o json > out.json && pilot \\\n  serve & # yes\ncurl -H 'Host: a b' http://c | sort\n";
    let expected: Vec<Vec<&str>> = vec![
        vec!["A=b", "pilot", "check", "-o", "json"],
        vec!["pilot", "serve"],
        vec!["curl", "-H", "Host: a b", "http://c"],
        vec!["sort"],
    ];
    assert_eq!(words(script), expected);
}
