//! What people do to a line so that a judge does not see what it is: the verdict stays, or becomes stricter.

use std::process::Command;

use moltbot_policy::command::{Choice, Rules, Severity, judge};
use proptest::prelude::*;
use proptest::sample::select;

use super::{Line, all_lines, review};

fn quoted(script: &str) -> String {
    format!("'{}'", script.replace('\'', "'\\''"))
}

/// Ways to write the same script, by number.
fn varied(script: &str, way: u8) -> String {
    match way % 22 {
        0 => format!("bash -c {}", quoted(script)),
        1 => format!("eval {}", quoted(script)),
        2 => format!("({script}\n)"),
        3 => format!("{{ {script}\n}}"),
        4 => format!("true\n{script}"),
        5 => format!("if true; then\n{script}\nfi"),
        6 => format!("x=$(\n{script}\n)"),
        7 => format!("echo `sh -c {}`", quoted(script).replace('\\', "\\\\").replace('`', "\\`")),
        8 => format!("sh <<'MOLT'\n{script}\nMOLT"),
        9 => format!("f() {{ {script}\n}}; f"),
        10 => format!("env A=b nice timeout 5 bash -c {}", quoted(script)),
        11 => format!("find . -exec sh -c {} \\;", quoted(script)),
        12 => format!("sudo -n -- bash -lc {}", quoted(script)),
        13 => format!("for i in 1 2; do\n{script}\ndone"),
        14 => format!("cat <(\n{script}\n)"),
        15 => format!("bash <<< {}", quoted(script)),
        16 => format!("printf '%s' {} | bash", quoted(script)),
        17 => format!("xargs sh -c {}", quoted(script)),
        18 => format!("busybox sh -c {}", quoted(script)),
        19 => format!("while true; do\n{script}\nbreak; done"),
        20 => format!("trap {} EXIT", quoted(&format!("{script} "))),
        _ => format!("case x in x)\n{script}\n;; esac"),
    }
}

/// Hostile lines whose meaning stays when they stand elsewhere: a here-document needs its line, a hidden character is
/// a matter of its own.
fn hostile() -> Vec<Line> {
    let all = all_lines().into_iter();
    let stands_alone = |line: &Line| {
        line.is_malicious()
            && !line.cmd.contains("<<")
            && !line.cmd.contains('\r')
            && line.class != "obf.hidden"
            && !line.cmd.contains('#')
    };
    all.filter(|line| stands_alone(line) && review(&line.cmd).choice != Choice::Run).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_line_in_other_words_is_judged_no_milder(line in select(hostile()), ways in prop::collection::vec(any::<u8>(), 1..4)) {
        let before = review(&line.cmd).choice;
        let mut script = line.cmd.clone();
        for way in ways {
            script = varied(&script, way);
        }
        let verdict = review(&script);
        // A nested back quote changes what is quoted: such a line may be no script at all, which is never run.
        prop_assert!(verdict.choice >= before, "{:?} was {before:?}, and is {:?} as {script:?}", line.cmd, verdict.choice);
    }

    #[test]
    fn a_name_in_pieces_is_the_same_name(name in select(vec!["nsenter", "unshare", "insmod", "debugfs", "pivot_root"]), cuts in prop::collection::vec(0_u8..6, 12)) {
        let mut written = String::new();
        for (letter, cut) in name.chars().zip(cuts) {
            match cut {
                0 => written.push_str(&format!("\\{letter}")),
                1 => written.push_str(&format!("'{letter}'")),
                2 => written.push_str(&format!("\"{letter}\"")),
                3 => written.push_str(&format!("$'\\x{:02x}'", u32::from(letter))),
                4 => written.push_str(&format!("{letter}''")),
                _ => written.push(letter),
            }
        }
        let verdict = review(&format!("{written} x"));
        prop_assert_eq!(verdict.choice, Choice::Refuse, "{}", &written);
    }

    #[test]
    fn whatever_it_is_given_it_answers(script in "[ -~\\n]{0,200}") {
        review(&script);
    }

    #[test]
    fn signs_in_any_order_are_answered(signs in prop::collection::vec(select(vec![
        "$(", ")", "`", "'", "\"", "{", "}", "((", "))", "[[", "]]", "<<E\n", "E\n", "|", "&&", ";", "\n", "$", "${", "<(", "a", " ", "\\", "if ", "then ", "fi", "case ", "in ", "esac",
        "for ", "do ", "done", "eval ", "sh -c ", "*", "?", "[", "]", "=", "x", "-c", "\u{1}", "é", "~", "#", "!", "1>&2", ">", "function ", "()", "coproc ", "time ", "~999999999999", "{1..99999999999999999999}",
    ]), 0..60)) {
        review(&signs.concat());
    }
}

/// Bash takes `( ( … ) )` for a group in a group and runs it; only `((` and `))` without a blank are arithmetic.
#[test]
fn a_group_in_a_group_is_not_taken_for_arithmetic() {
    for line in [
        "( ( insmod x.ko ) )",
        "((insmod x.ko) )",
        "( (insmod x.ko))",
        "(\n(insmod x.ko))",
        "( ( sh <<M\ninsmod x.ko\nM\n) )",
        "true && ( ( ( insmod x.ko ) ) )",
        "( ( ( insmod x.ko ) ) )",
        "f() { ( ( insmod x.ko ) ); }; f",
        "echo $( ( insmod x.ko ) )",
        "echo $((insmod x.ko) )",
        "case a in (a) ( ( insmod x.ko ) );; esac",
    ] {
        assert_eq!(review(line).choice, Choice::Refuse, "{line}");
    }
    for line in [
        "((1 + 2))",
        "x=$((1 + 2))",
        "(ls; (ls))",
        "((ls); ls)",
        "echo $(( (1 + 2) * 3 ))",
        "(( (1 + 2) * 3 ))",
    ] {
        assert_ne!(review(line).choice, Choice::Refuse, "{line}");
    }
}

#[test]
fn e21_what_bash_does_not_read_is_never_run() {
    for script in [
        "echo 'a",
        "echo \"a",
        "if true",
        "a ;; b",
        "$(",
        "`",
        "((",
        "case x in",
        "for",
        "a | | b",
        "{ a",
        "(a",
        "<<",
        "a &&",
        "| a",
        "fi",
        "echo ${",
        "\0",
    ] {
        assert_ne!(review(script).choice, Choice::Run, "{script:?}");
        if !script.contains('\0') {
            assert_eq!(review(script).choice, Choice::Refuse, "{script:?}");
        }
    }
    let deep = format!("{}id{}", "$(".repeat(5000), ")".repeat(5000));
    let nested = format!("{}id{}", "(".repeat(2000), ")".repeat(2000));
    let loops = format!("{}:{}", "if :; then ".repeat(3000), "; fi".repeat(3000));
    let shells = (0..40).fold("id".to_owned(), |script, _| {
        format!("eval {}", quoted(&script)).chars().take(60_000).collect()
    });
    for script in [deep, nested, loops, shells, "a ".repeat(40_000), "x=$x;".repeat(20_000)] {
        assert_ne!(review(&script).choice, Choice::Run, "{:.40}", script);
    }
}

/// What the two read differently would be judged as something that it is not.
#[test]
fn what_bash_accepts_is_read() {
    let mut read = 0;
    for line in all_lines() {
        #[expect(clippy::disallowed_methods, reason = "the shell that is compared with")]
        let bash = Command::new("bash").args(["-O", "extglob", "-n", "-c", &line.cmd]).output().unwrap();
        let unreadable = review(&line.cmd).reasons.iter().any(|reason| reason.code == "unreadable");
        if bash.status.success() {
            // `select` is a menu for a person at a terminal, which no command of an agent has.
            assert!(
                !unreadable || line.cmd.starts_with("select "),
                "bash reads {:?}: {:?}",
                line.cmd,
                review(&line.cmd).reasons
            );
            read += 1;
        }
    }
    assert!(read > 1000, "{read}");
}

#[test]
fn d_111_every_form_that_the_report_missed_is_found() {
    for (script, pattern) in [
        ("mount --bind a b", "Bind mount attempt"),
        ("mount -t proc -o rw,bind a b", "Bind mount attempt"),
        ("cat /proc//sys/kernel/x", "Kernel parameter access"),
        ("cat /proc/sys/./kernel/x", "Kernel parameter access"),
        ("un\"\"share -r", "Namespace unshare"),
        ("u\\nshare -r", "Namespace unshare"),
        ("cat /dev/nvme0n1", "Raw disk access"),
        ("cat /dev/vda", "Raw disk access"),
        ("cat /dev/mapper/x", "Raw disk access"),
        ("ls /proc/self/root", "Process root access"),
        ("ls /proc/self/cwd", "Process CWD access"),
        ("ls /proc/thread-self/root", "Process root access"),
        ("ls /proc/$$/root", "Process root access"),
        ("ls /proc/1/ns/mnt", "Namespace enter"),
        ("ls /run/containerd/containerd.sock", "Docker socket access"),
        ("ls /run/podman/podman.sock", "Docker socket access"),
        ("ls /run/crio/crio.sock", "Docker socket access"),
        ("curl --unix-socket /var/run/DOCKER.SOCK a", "Docker socket access"),
        ("curl tcp://10.0.0.1:2375", "Docker socket access"),
        ("insmod x.ko", "Kernel module loading"),
        ("echo x > /tmp/c/release_agent", "CGroup manipulation"),
        ("cd /proc/sys/kernel; echo x > core_pattern", "Kernel parameter access"),
        ("echo x > core_pattern", "Kernel parameter access"),
        ("echo x > /dev/kmsg", "Kernel log access"),
        ("echo bnNlbnRlciAtdCAx | base64 -d | sh", "Namespace enter"),
        // What the report's own tests have.
        ("cat /proc/sys/kernel/core_pattern", "Kernel parameter access"),
        ("echo 0 > /sys/fs/cgroup/memory/limit", "CGroup manipulation"),
        ("unshare -r /bin/sh", "Namespace unshare"),
        ("nsenter -t 1 -m -u -i -n -p", "Namespace enter"),
        ("curl --unix-socket /var/run/docker.sock", "Docker socket access"),
        ("dd if=/dev/sda of=/tmp/disk.img", "Raw disk access"),
        ("chroot /tmp/escape /bin/bash", "Chroot escape attempt"),
        ("cp /proc/self/exe x", "Process self-reference"),
        ("gdb -p 1", "Process tracing"),
        ("dd if=/dev/mem", "Physical memory access"),
        ("dd if=/dev/kmem", "Kernel memory access"),
    ] {
        let verdict = review(script);
        assert!(verdict.patterns.contains(&pattern), "{script}: {:?}", verdict.patterns);
        let medium = matches!(
            pattern,
            "Process self-reference" | "Process root access" | "Process CWD access" | "Chroot escape attempt"
        );
        let expected = if medium { Choice::Ask } else { Choice::Refuse };
        assert_eq!(verdict.choice, expected, "{script}");
    }
    assert!(review("unshare -r mount -o bind /proc /tmp/proc").patterns.len() > 1);
}

#[test]
fn d_112_words_that_only_sound_like_it_are_not_found() {
    for script in [
        "echo ptrace tutorial",
        "echo 'chroot jail'",
        "cat /dev/memory-notes.txt",
        "ls /dev/sdk/..",
        "ls /dev/sdk/include",
        "ls -la",
        "cat file.txt",
        "python script.py",
        "grep ptrace notes.md",
        "less-than chroot.md",
        "cat docs/nsenter.md",
        "git commit -m 'about unshare and docker.sock'",
    ] {
        assert_eq!(review(script).patterns, Vec::<&str>::new(), "{script}");
    }
    assert_eq!(review("npm install").patterns, Vec::<&str>::new());
}

#[test]
fn e04_every_command_of_a_line_is_judged() {
    for joint in ["; ", " && ", " || ", " | ", " & ", "\n", " |& ", ";\n\n"] {
        let script = format!("echo x{joint}node");
        assert_ne!(review(&script).choice, Choice::Run, "{script:?}");
        assert_eq!(review(&format!("ls{joint}nsenter -t 1")).choice, Choice::Refuse, "{joint:?}");
        assert_eq!(review(&format!("nsenter -t 1{joint}ls")).choice, Choice::Refuse, "{joint:?}");
    }
}

#[test]
fn e03_e20_only_a_plain_command_is_offered_to_run_without_a_shell() {
    let rules = Rules::built_in().unwrap();
    for script in [
        "head $HOME/.ssh/*",
        "ls *",
        "ls ~",
        "ls `id`",
        "ls | cat",
        "ls > x",
        "A=b ls",
        "ls &",
        "! ls",
        "cd x",
        "ls; ls",
        "echo {a,b}",
        "time ls",
        "export X=1",
        "$x",
        "(ls)",
    ] {
        assert_eq!(judge(script, rules).simple(), None, "{script}");
    }
    for (script, words) in [
        ("ls -la", vec!["ls", "-la"]),
        ("touch 'a; $(id) `b` \"c\"'", vec!["touch", "a; $(id) `b` \"c\""]),
        ("touch \"it's\"", vec!["touch", "it's"]),
        ("printf '%s\\n' \"a\nb\"", vec!["printf", "%s\\n", "a\nb"]),
    ] {
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        assert_eq!(judge(script, rules).simple(), Some(words.as_slice()), "{script}");
    }
}

#[test]
fn e08_wrappers_are_taken_off_and_named() {
    for (script, program, wrappers) in [
        (
            "env A=b nice -n 5 timeout -s KILL 5 setsid git push",
            "git",
            vec!["env", "nice", "timeout", "setsid"],
        ),
        ("sudo -u root -- git push", "git", vec!["sudo"]),
        ("busybox wget a", "wget", vec!["busybox"]),
        ("toybox wget a", "wget", vec!["toybox"]),
        ("flock /tmp/x git push", "git", vec!["flock"]),
        ("xargs -0 git push", "git", vec!["xargs"]),
        ("find . -exec git push ;", "git", vec!["find"]),
        ("command git push", "git", vec!["command"]),
    ] {
        let script = script.replace(" ;", " \\;");
        let verdict = review(&script);
        let part = verdict
            .parts
            .iter()
            .find(|part| part.program.as_deref() == Some(program))
            .unwrap_or_else(|| panic!("{script}: {:?}", verdict.parts));
        assert_eq!(part.wrappers, wrappers, "{script}");
        assert_eq!(verdict.choice, Choice::Ask, "{script}");
    }
    assert_eq!(review("somewrapper git status").choice, Choice::Ask, "what is not known may start anything");
}

#[test]
fn e10_e15_code_in_an_option_and_runners_of_packages_are_asked_about() {
    for script in [
        "pwsh -enc aQBkAA==",
        "pwsh -EncodedCommand x",
        "powershell -e x",
        "pwsh -Com x",
        "pnpm dlx x",
        "npx x",
        "npm run build",
        "yarn dlx x",
        "bunx x",
        "uvx x",
        "pipx run x",
        "npm exec x",
    ] {
        assert_ne!(review(script).choice, Choice::Run, "{script}");
    }
}

#[test]
fn e11_a_rule_for_one_subcommand_says_nothing_about_another() {
    assert_eq!(review("git status").choice, Choice::Run);
    for script in [
        "git push",
        "git -c x=y push",
        "git --git-dir=x push",
        "git statu",
        "git",
        "/tmp/git status",
        "./git status",
        "git status; git push",
    ] {
        assert_ne!(review(script).choice, Choice::Run, "{script}");
    }
}

/// Found by the fuzzer: a wrapper whose script is nothing, or cannot be read, was shown as no command at all.
#[test]
fn a_simple_command_always_has_a_part_to_show() {
    for script in [
        "watch 'x) y'",
        "watch ''",
        "watch '#'",
        "parallel ''",
        "flock f -c ''",
        "su -c 'if' a",
        "script -c '$(' f",
    ] {
        let verdict = review(script);
        assert!(verdict.simple().is_none() || !verdict.parts.is_empty(), "{script}: {verdict:?}");
    }
}

/// Found by the fuzzer: the parser gave up the whole program over such a number.
#[test]
fn a_descriptor_with_a_number_that_no_shell_has_is_refused() {
    for script in
        ["cat 99999999999>x", "99999999999<x cat", "a <(cat 555555555555555<<(b))", "2147483648>&1 ls"]
    {
        assert_eq!(review(script).choice, Choice::Refuse, "{script}");
    }
    for script in ["echo 99999999999 >x", "ls 2>&1", "exec 100>x", "echo 99999999999>&1x"] {
        let unreadable = review(script).reasons.iter().any(|reason| reason.code == "unreadable");
        assert_eq!(unreadable, script.contains("&1x"), "{script}");
    }
}

/// Found by the fuzzer: the parser's time grew fifteenfold with each subscript within a subscript of an assignment.
#[test]
fn subscripts_within_subscripts_are_judged_in_time() {
    for (open, close) in
        [("${x[", "]}"), ("\"${x[\"", "\"]}\""), ("${!x[", "]}"), ("${x\\\n[", "]}"), ("${x['a}'", "]}")]
    {
        for levels in [4, 6, 12, 60] {
            let script = format!("z[{}0{}]=1", open.repeat(levels), close.repeat(levels));
            assert_eq!(review(&script).choice, Choice::Refuse, "{script}");
            assert_eq!(review(&format!("z[{}", open.repeat(levels))).choice, Choice::Refuse, "{script}");
        }
    }
    // Those that people write: any number with plain subscripts, and some with a variable in them.
    for script in [
        "a=(1 2); echo ${a[0]} ${a[1]} ${a[@]} ${#a[@]} ${!a[@]} ${a[i+1]} ${a[-1]}",
        "for i in 1 2; do echo \"${a[$i]}\" \"${b[$i]}\" \"${c[$i]}\" \"${d[$i]}\"; done",
        "a[0]=1; b[$i]=\"${a[$i]}${c[$i]}\"",
    ] {
        let unreadable = review(script).reasons.iter().any(|reason| reason.code == "unreadable");
        assert!(!unreadable, "{script}");
    }
}

/// Found by the fuzzer: the parser never ended where the word of a here-document is empty and its line is the last.
#[test]
fn a_document_whose_word_is_empty_is_judged_in_time() {
    for script in [
        "cat <<\"\" a",
        "cat <<'' a ",
        "cat <<\"\" a <<",
        "cat <<\"\" a \\\n",
        "cat <<\"\" a\\",
        "$(cat <<\"\") a ",
        "$(cat <<  b) a ",
        "$(cat <<-  b) a ",
        "$(cat << \t b) a ",
        "$(cat <<\\\n  b) a ",
        "$(cat << ;b) a ",
        "$(a $(cat <<  c)) d ",
        "x=1; $(ruv << <$x) -t  ",
        "$(cat <<\"\" x\n) y",
        "a[$(i\"r\"<<-\"\" \"\"\"\n\n\"\"*k\"\"\")a [$(i\"r\"<<-\"\"\"\"\"\"\ng\"\"*k\"\"\")a do ",
        "x=retnesn; $(r<v<<  e$x)=r; $(rev <<< $x) - n; $(r<v<<  e$x)=r; $(r-t 1",
    ] {
        // That it returns is what is tried. What is only known when it runs is asked about at least.
        let harmless = !script.contains("$(");
        assert!(harmless || review(script).choice != Choice::Run, "{script}");
        assert!(!harmless || review(script).severity.is_none_or(|it| it < Severity::High), "{script}");
    }
    for script in [
        "x=$(cat <<< \"$y\")",
        "x=$(cat <<'A'\nb\nA\n)",
        "echo $((1 << 2))",
        "git commit -m \"$(cat <<EOF\nb\nEOF\n)\"",
    ] {
        let unreadable = review(script).reasons.iter().any(|reason| reason.code == "unreadable");
        assert!(!unreadable, "{script}");
    }
    // What stands in the document is still seen, and a line that goes on nowhere still refused.
    assert_eq!(review("sh <<\"\"\nnsenter -t 1 -a sh\n").choice, Choice::Refuse);
    assert_eq!(review("cat <<A\\").choice, Choice::Refuse);
}

/// Found by the fuzzer: the parser tries each opening in two ways, so that each level doubled its time: twenty-eight took
/// minutes.
#[test]
fn e21_levels_that_would_take_the_parser_ages_are_refused_before() {
    for (open, close) in [
        ("(", ")"),
        ("( ", " )"),
        ("((", "))"),
        ("case x in x) ", ";; esac "),
        ("case x in (x) ", ";; esac "),
        ("( case x in x) ( ", " ) ;; esac )"),
        ("case x in x) ((", "));; esac "),
        ("{ ( case x in x) if ", "; then x; fi ;; esac ) }"),
        ("(( case\n( ( ( (\nesac ", ""),
        ("case x in x) echo esac; ( ( ", ") ) ;; esac"),
        ("case x in x) \nesac\ncase x in x) ( ", ""),
        ("a=( ", ")"),
        ("[[ ( ", ") ]]"),
    ] {
        for levels in [9, 30, 100] {
            for middle in ["id", ";;", ""] {
                let (opened, closed) = (open.repeat(levels), close.repeat(levels));
                for script in [format!("{opened}{middle}"), format!("{opened}{middle}{closed}")] {
                    assert_eq!(review(&script).choice, Choice::Refuse, "{script:.60}");
                }
            }
        }
    }
    for script in [
        "( ls; ( ls; ( ls; (ls) ) ) )",
        "case a in a) case b in b) ls;; esac;; esac",
        "(ls); (ls); (ls); (ls); (ls); (ls); (ls); (ls); (ls); (ls)",
    ] {
        assert_eq!(review(script).choice, Choice::Run, "{script}");
    }
    let many = "case a in a) ls;; esac\n".repeat(30);
    assert_eq!(review(&many).choice, Choice::Run);
}
