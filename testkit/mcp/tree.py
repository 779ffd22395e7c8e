"""A keystore and a tree of envelopes, made by envctl: what the clients look at."""

import os
import pathlib
import subprocess

CANARY = "canary-3f9c"


class Tree:
    """Keys `main` (rotated once) and `old` (compromised); three envelopes, one of which only `old` opens."""

    def __init__(self, envctl, folder):
        self.envctl = str(pathlib.Path(envctl).resolve())
        self.folder = pathlib.Path(folder).resolve()
        self.archive = self.folder / "archive"
        (self.archive / "2026").mkdir(parents=True)
        self.passphrase = self.write("passphrase", CANARY + "\n")
        self.policy = self.write("policy.toml", 'version = 1\n[[rule]]\nname = "agents-look"\neffect = "allow"\n'
                                 'actor = ["mcp:*"]\noperation = ["look"]\n[[rule]]\nname = "nobody-destroys"\n'
                                 'effect = "deny"\noperation = ["destroy"]\n')
        self.log = self.folder / "audit.log"
        self.config = self.write("config.toml", f'keys = ["local:main"]\nkeystore = "{self.folder}/keystore.json"\n'
                                 f'[mcp]\nroots = ["{self.archive}"]\naudit-log = "{self.log}"\n'
                                 f'[policy]\nfile = "{self.policy}"\n')
        self.run("keystore", "init")
        for key in ("main", "old"):
            self.run("keys", "create", key)
        for name, keys in (("a.pdf", ["main"]), ("2026/b.pdf", ["main", "old"]), ("2026/c.pdf", ["old"])):
            path = self.archive / name
            path.write_text(CANARY + " plaintext of " + name)
            self.run("encrypt", *(word for key in keys for word in ("-k", f"local:{key}")), "-c", "tenant=42", "--rm",
                     "-o", f"{path}.envelope", str(path))
        self.run("keys", "report-compromise", "old")
        self.run("keys", "rotate", "main")
        self.run("audit", "create", str(self.log))

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder)}

    def run(self, *words):
        call = [self.envctl, "--config", str(self.config), "--passphrase-file", str(self.passphrase), *words]
        done = subprocess.run(call, env=self.environment(), capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.returncode}\n{done.stderr}")
        return done.stdout
