"""How good a model is: measures, results.json, pictures and the report. Works on plain lists, never on a recognizer."""
