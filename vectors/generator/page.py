"""What the pages of the specification take from the vectors: the worked example and the coverage tables."""

import re
import sys
from pathlib import Path

from .base import VECTORS, wrap_binding
from .success import worked_example

SPEC = Path(__file__).resolve().parents[2] / "docs" / "spec"
ENVELOPE, KEYSTORE = SPEC / "envelope-v1.md", SPEC / "keystore-v1.md"


def hexdump(data, indent="  "):
    text = data.hex()
    return "\n".join(indent + text[i : i + 64] for i in range(0, len(text), 64))


def example():
    env, kek = worked_example()
    header_key, content_key = env.keys()
    recipient = env.recipients[0]
    salt = env.rnd("payload salt", 24)
    cob = env.cobblestone()
    values = [
        ("plaintext", env.plaintext),
        ("KEK", kek.key),
        ("DEK", env.dek),
        ("envelope_id", env.eid),
        ("full_context", env.full()),
        ("wrap_binding", wrap_binding(recipient.uri, recipient.version, env.full())),
        ("wrapped_dek", recipient.wrapped),
        ("header_key", header_key),
        ("content_key", content_key),
        ("preamble", env.authenticated()[:16]),
        ("body", env.body()),
        ("header_mac", env.mac()),
        ("binding", env.binding()),
        ("salt", salt),
        ("payload key", cob.key),
        ("base_nonce", cob.base),
        ("commitment", cob.commitment),
        ("chunk 0", cob.chunk(0, env.plaintext)),
        ("envelope", env.envelope()),
    ]
    blocks = "\n".join(f"{name} ({len(data)})\n{hexdump(data)}" for name, data in values)
    return (
        "The vector `success/worked-example`: 14 bytes of ASCII, `attack at dawn`, with the stored context `tenant=42`, to the\n"
        f"local key `{kek.uri.decode()}` in version `{kek.version.decode()}`.\nLengths in bytes stand in parentheses; all else is hexadecimal.\n\n"
        f"```text\n{blocks}\n```"
    )


# Requirements that a vector cannot show, or not alone, and the tests that do.
TESTS = {
    "H-5": ["tests/spec_rules.rs::body_len_is_refused_before_the_body_is_read"],
    "H-11": ["tests/stream.rs::a_detached_header_or_a_data_key_ends_where_its_reader_does"],
    "H-12": ["tests/vectors.rs::a_header_that_was_read_is_written_with_the_same_bytes"],
    "T-2": ["tests/vectors.rs::a_text_form_that_was_read_is_written_with_the_same_characters"],
    "C-7": ["tests/spec_rules.rs::no_provider_is_called_when_the_context_does_not_fit"],
    "C-8": ["tests/spec_rules.rs::no_provider_is_called_when_the_context_does_not_fit"],
    "C-9": ["tests/spec_rules.rs::a_writer_refuses_a_context_over_the_limits"],
    "K-1": ["tests/spec_rules.rs::every_envelope_and_data_key_has_a_fresh_dek_and_id"],
    "K-2": ["tests/spec_rules.rs::every_envelope_and_data_key_has_a_fresh_dek_and_id"],
    "W-5": ["tests/spec_rules.rs::nonces_and_salts_are_fresh"],
    "A-1": ["tests/vectors.rs::every_passphrase_vector_comes_to_its_class_with_the_passphrase_provider"],
    "A-3": ["tests/vectors.rs::every_passphrase_vector_comes_to_its_class_with_the_passphrase_provider"],
    "A-4": ["tests/vectors.rs::every_passphrase_vector_comes_to_its_class_with_the_passphrase_provider"],
    "A-5": ["tests/spec_rules.rs::salts_of_passphrase_wraps_are_fresh"],
    "P-5": ["tests/spec_rules.rs::nonces_and_salts_are_fresh"],
    "P-6": ["tests/spec_rules.rs::a_stream_gives_out_authentic_chunks_only_and_reports_the_missing_end"],
    "P-7": ["tests/spec_rules.rs::a_payload_has_at_most_2_to_the_38_chunks"],
    "S-3": ["tests/spec_rules.rs::a_record_has_at_most_16_mib"],
    "S-4": ["tests/spec_rules.rs::nonces_and_salts_are_fresh"],
    "S-5": [
        "tests/data_key.rs::no_data_key_is_made_whose_withheld_values_a_wrap_does_not_verify",
        "tests/data_key.rs::no_rewrap_takes_from_a_data_key_what_verifies_its_withheld_values",
    ],
    "S-6": ["tests/data_key.rs::no_data_key_opens_under_a_withheld_value_that_nothing_verified"],
    "T-5": ["tests/spec_rules.rs::a_writer_of_text_ends_lines_with_lf"],
    "D-1": ["tests/spec_rules.rs::a_format_failure_calls_no_provider"],
    "D-2": ["tests/spec_rules.rs::only_configured_keys_are_used"],
    "D-5": ["tests/spec_rules.rs::mac_and_commitment_are_compared_in_constant_time"],
    "D-6": ["tests/spec_rules.rs::everything_that_does_not_fit_is_one_error"],
    "G-1": ["tests/spec_rules.rs::a_rewrap_changes_recipients_and_generation_alone"],
    "G-2": ["tests/spec_rules.rs::a_rewrap_verifies_the_old_header_first"],
    "G-3": ["tests/spec_rules.rs::a_rewrap_verifies_each_new_wrap"],
    "G-4": ["tests/spec_rules.rs::a_rewrap_changes_recipients_and_generation_alone",
            "tests/spec_rules.rs::the_last_generation_cannot_be_rewrapped"],
    "G-5": ["tests/rewrap.rs::no_new_wrap_binds_a_withheld_value_that_nothing_verified",
            "tests/rewrap.rs::no_rewrap_inside_binds_a_withheld_value_that_nothing_verified"],
    "F-1": ["backends/local/tests/local/files.rs::a_file_larger_than_16_mib_is_refused_unread"],
    "F-4": ["backends/local/tests/local/tampering.rs::anything_but_the_one_spelling_is_malformed"],
    "E-1": ["backends/local/tests/local/tampering.rs::argon2_parameters_out_of_bounds_are_refused_before_any_memory_is_taken"],
    "E-4": ["backends/local/tests/local/tampering.rs::every_flipped_bit_is_refused_by_a_process_that_has_the_file_open"],
    "E-6": ["backends/local/tests/local/vectors.rs::ids_salts_nonces_and_keys_are_fresh"],
    "O-2": ["backends/local/tests/local/tampering.rs::a_tampered_file_is_not_written_over_and_the_loaded_keys_stay_in_use"],
    "L-1": ["backends/local/tests/local/keys.rs::every_state_of_the_key_permits_what_the_table_says",
            "backends/local/tests/local/keys.rs::every_state_of_an_old_version_permits_what_the_table_says",
            "backends/local/tests/local/keys.rs::rotation_wraps_with_the_new_version_and_the_old_one_still_unwraps"],
    "L-2": ["backends/local/tests/local/keys.rs::every_write_raises_the_generation_by_one"],
    "L-3": ["backends/local/tests/local/tampering.rs::an_older_copy_is_refused_by_a_process_that_knows_better"],
    "L-4": ["backends/local/tests/local/keys.rs::destroying_takes_the_keys_out_of_the_file_and_keeps_the_name_taken"],
}


def coverage(page):
    """The coverage table of one page."""
    ids = requirements(page)
    opens, refused = {i: [] for i in ids}, {i: [] for i in ids}
    for name, data in VECTORS.items():
        found = opens if b"\nfirst: " not in data.partition(b"\n\n")[0] else refused
        for tag in re.search(rb"^spec: (.*)$", data, re.M).group(1).decode().split():
            if tag in found:
                found[tag].append(name)
            elif tag not in requirements(ENVELOPE) + requirements(KEYSTORE):
                sys.exit(f"{name}: {tag} stands on no page")
    rows = ["| Requirement | Vectors that open | Vectors that are refused | Tests |", "|---|---|---|---|"]
    for i in ids:
        listed = lambda names: " ".join(f"`{name}`" for name in sorted(names))
        rows.append(f"| {i} | {listed(opens[i])} | {listed(refused[i])} | {listed(TESTS.get(i, []))} |")
    return "\n".join(rows)


def requirements(page):
    return re.findall(r"^- \*\*\[([A-Z]-\d+)\]\*\*", page.read_text(), re.M)


def write_pages():
    text = ENVELOPE.read_text()
    heading, following = "## Worked example\n", "## References\n"
    start, end = text.index(heading) + len(heading), text.index(following)
    ENVELOPE.write_text(text[:start] + "\n" + example() + "\n\n" + text[end:])
    for page in (ENVELOPE, KEYSTORE):
        text = page.read_text()
        start = text.index("\n\n", text.index("tests/spec_coverage.rs` fails"))
        page.write_text(text[:start] + "\n\n" + coverage(page) + "\n")
