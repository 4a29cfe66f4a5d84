"""What a project's own files import, and which distributions bring it. Nothing of the project runs here."""

import os
import re
import stat

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "imports.txt")
FILES, BYTES = 5000, 1 << 20  # Most files that are read, and most of each.
SKIPPED = {".git", "node_modules", "site-packages", "__pycache__", "static", "staticfiles", "media"}
IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([A-Za-z_]\w*)[\w.]*[ \t]+import\b|import[ \t]+([^\n#;]+))", re.M)
QUOTED = re.compile(r"['\"]([A-Za-z_]\w*)(?:\.\w+)*['\"]")
# Modules that projects call so and keep out of their repositories: what the index has by these names is another thing.
GENERIC = set(
    "api app apps auth backend base common conf config configs configuration constants core creds credentials database "
    "db dev development env environment frontend functions helper helpers home key keys lib libs local local_config "
    "local_env local_settings locals local_secrets main models my_settings mysettings passwords pages private prod "
    "production project scripts secret secret_settings secrets_local server services settings settings_local shared site "
    "src test tests tokens tools user users util utils variables vars views web website about account accounts authentication "
    "blog book books cart catalog category chat checkout comments company contact courses customer customers dashboard "
    "employee events feed forms forum gallery inventory items library login members messages news notes notifications "
    "order orders payment payments polls portfolio posts product products profile profiles quiz registration reviews "
    "school search shop staff store student students tasks teacher todo".split()
)


def normal(name):
    """A distribution's name as the index knows it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def table():
    """Distributions, as requirements, by the modules that they bring; a dotted one is a part of a namespace."""
    with open(TABLE) as file:
        lines = (line.strip().split(" ", 1) for line in file if line.strip() and not line.startswith("#"))
        return {line[0]: line[1] for line in lines if len(line) == 2}


def name_of(requirement):
    """The distribution's name in a requirement."""
    return normal(re.match(r"[\w.-]*", requirement)[0])


def text_of(path):
    """A plain file's text; links and pipes have none."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file.read(BYTES).decode("utf-8", "replace")
    except OSError:
        pass
    return ""


class Sources:
    """The project's files, read once and when they are first asked for."""

    def __init__(self, root):
        self.root, self.known, self.read = root, table(), False
        self.imported, self.quoted, self.own = set(), set(), set()

    def look(self):
        if self.read:
            return
        self.read, files = True, 0
        for here, directories, names in os.walk(self.root):
            directories[:] = [
                name for name in directories
                if name not in SKIPPED and not os.path.exists(os.path.join(here, name, "pyvenv.cfg"))
            ]
            programs = [name for name in names if name.endswith(".py")]
            self.own.update(name[:-3] for name in programs)
            self.own.update(name for name in directories)
            for name in programs:
                files += 1
                if files <= FILES:
                    self.take(text_of(os.path.join(here, name)))

    def take(self, text):
        for module, several in IMPORT.findall(text):
            found = [module] if module else [part.split(".")[0].split()[0] for part in several.split(",") if part.split()]
            self.imported.update(found)
        if "INSTALLED_APPS" in text or "MIDDLEWARE" in text:
            self.quoted.update(QUOTED.findall(text))

    def names(self, module):
        """Whether the project's own files import the module, or its settings name it."""
        self.look()
        return module in self.imported or module in self.quoted

    def has(self, module):
        """Whether the project has a module of that name itself."""
        self.look()
        return module in self.own

    def needs(self, distribution):
        """Whether the project's files name a module that the distribution may bring."""
        name = normal(distribution)
        modules = {module.split(".")[0] for module, requirement in self.known.items() if name_of(requirement) == name}
        plain = name.replace("-", "_")
        modules |= {plain, re.sub(r"^(?:django_|python_|py_?)|(?:_python|_binary)$", "", plain)}
        self.look()
        named = {found.lower() for found in self.imported | self.quoted}
        return any(module.lower() in named for module in modules)

    def distribution(self, module):
        """What brings a module that is missing, as a requirement, or None where that is not known well enough: a
        name that the project itself does not have in its files may be anybody's on the index."""
        if self.has(module):
            return None
        if module in self.known:
            return self.known[module]
        if self.names(module) and module.lower() not in GENERIC and len(module) > 2:
            return module.replace("_", "-")
        return None

    def instead(self, distribution):
        """What is meant by a distribution that is not on the index: some write down a module's name."""
        for module, requirement in self.known.items():
            if normal(module) == normal(distribution) != name_of(requirement):
                return requirement
        return None
