package kmod

// match is fnmatch(3) without flags, as modalias patterns are matched: * spans everything, ? and [set] one byte.
func match(pattern, name string) bool {
	for pattern != "" {
		switch pattern[0] {
		case '*':
			for pattern != "" && pattern[0] == '*' {
				pattern = pattern[1:]
			}
			for i := 0; i <= len(name); i++ {
				if match(pattern, name[i:]) {
					return true
				}
			}
			return false
		case '[':
			if name == "" {
				return false
			}
			rest, ok := matchSet(pattern[1:], name[0])
			if !ok {
				return false
			}
			pattern, name = rest, name[1:]
		default:
			if name == "" || pattern[0] != '?' && pattern[0] != name[0] {
				return false
			}
			pattern, name = pattern[1:], name[1:]
		}
	}
	return name == ""
}

// matchSet answers the pattern behind the set and whether c is in it.
func matchSet(set string, c byte) (string, bool) {
	found := false
	for i := 0; i < len(set); i++ {
		switch {
		case set[i] == ']' && i > 0:
			return set[i+1:], found
		case i+2 < len(set) && set[i+1] == '-' && set[i+2] != ']':
			found = found || set[i] <= c && c <= set[i+2]
			i += 2
		default:
			found = found || set[i] == c
		}
	}
	return "", false
}
