"""A file, an import path, a class or an object becomes Subjects."""
