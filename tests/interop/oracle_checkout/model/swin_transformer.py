"""The reference's other backbone; these tests do without."""
