package main

func legacySetIDAttempts() []attempt { return nil }

var legacySetIDAnswers map[string]string
