/*
 * rows_cases.h
 *	  Pages and what the decoder makes of them.
 */

/* A cell in a transcript is kind,length<bytes>: 0 null, 1 string, 2 JSON text. */
static const struct
{
	const char *doc;
	const char *transcript;
} good_cases[] = {
	{"{}", "envelope {}\n"},
	{" \t\r\n{ } \n", "envelope {}\n"},
	{"{\"a\":1}", "envelope {  \"a\":1}\n"},
	{"{\"a\" : [ ] , \"b\":\"\\u00e9\\n\"}", "envelope {  \"a\" : [ ], \"b\":\"\\u00e9\\n\"}\n"},
	{"{\"rows\":[]}", "envelope {}\n"},
	{"{\"rows\":null,\"a\":null}", "envelope {  \"a\":null}\n"},
	{"{\"totalRows\":\"1\",\"rows\":[{\"f\":[{\"v\":\"x\"},{\"v\":null}]}],\"jobComplete\":true}",
	 "envelope {  \"totalRows\":\"1\"}\nrow of 2: 1,1<x> 0,0<>\nenvelope {  \"totalRows\":\"1\", "
	 "\"jobComplete\":true}\n"},
	{"{\"\\u0072o\\u0077s\":[{\"\\u0066\":[{\"\\u0076\":\"x\"}]}]}", "envelope {}\nrow of 1: 1,1<x>\nenvelope {}\n"},
	{"{\"rows\":[{\"f\":[]},{\"f\":[]}]}", "envelope {}\nrow of 0:\nrow of 0:\nenvelope {}\n"},
	{"{\"a\":{\"rows\":[{\"f\":1}]},\"rowsx\":[1],\"row\":2}",
	 "envelope {  \"a\":{\"rows\":[{\"f\":1}]}, \"rowsx\":[1], \"row\":2}\n"},
	{"{\"rows\":[{\"x\":{\"f\":[{\"v\":1}]},\"f\":[{\"y\":[\"v\"],\"v\":\"a\",\"z\":0}],\"rows\":[]}]}",
	 "envelope {}\nrow of 1: 1,1<a>\nenvelope {}\n"},
	/* JSON cells keep their text, white space and all */
	{"{\"rows\":[{\"f\":[{\"v\":[ {\"v\": \"a\\n\"} ]},{\"v\":{}},{\"v\":-1.50e+2},{\"v\":true},{\"v\":false "
	 "},{\"v\":0 }]}]}",
	 "row of 6: 2,16<[ {\"v\": \"a\\n\"} ]> 2,2<{}> 2,8<-1.50e+2> 2,4<true> 2,5<false> 2,1<0>\nenvelope {}\n"},
	{"{\"rows\":[{\"f\":[{\"v\":{\"f\":[{\"v\":null},{\"v\":\"]}\"}]}},{\"v\":\"\"}]}]}",
	 "row of 2: 2,29<{\"f\":[{\"v\":null},{\"v\":\"]}\"}]}> 1,0<>\nenvelope {}\n"},
	/* escapes */
	{"{\"rows\":[{\"f\":[{\"v\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}]}]}", "row of 1: 1,8<\"\\/\b\f\n\r\t>\nenvelope {}\n"},
	{"{\"rows\":[{\"f\":[{\"v\":\"\\u0041\\u00e9\\u20aC\\uD83D\\uDE00\\udbff\\udfff.\"}]}]}",
	 "row of 1: 1,15<A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xF4\x8F\xBF\xBF.>\nenvelope {}\n"},
	{"{\"rows\":[{\"f\":[{\"v\":\"\\u0080\\u07ff\\u0800\\ud7ff\\ue000\\uffff\\ud800\\udc00\"}]}]}",
	 "row of 1: 1,20<\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80>\nenvelope {}\n"},
	{"{\"rows\":[{\"f\":[{\"v\":\"plain\"},{\"v\":\"a\\tb\"},{\"v\":\"also plain\"},{\"v\":\"\\\\\"}]}]}",
	 "row of 4: 1,5<plain> 1,3<a\tb> 1,10<also plain> 1,1<\\>\nenvelope {}\n"},
	/* the ends of the ranges of UTF-8 */
	{"{\"rows\":[{\"f\":[{\"v\":"
	 "\"\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\x7F\"}]}]}",
	 "row of 1: "
	 "1,25<\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\x7F>"
	 "\nenvelope {}\n"},
	{"{\"\xC3\xA9\":\"\xE4\xB8\xAD\"}", "envelope {  \"\xC3\xA9\":\"\xE4\xB8\xAD\"}\n"},
	{"{\"a\":[0,-0,10,1.0,0.5e1,1E-2,1e+0,-9.99]}", "envelope {  \"a\":[0,-0,10,1.0,0.5e1,1E-2,1e+0,-9.99]}\n"},
};

/* What starts a cell in a row, and what a string of it. */
#define CELL "{\"rows\":[{\"f\":[{\"v\":"
#define TEXT CELL "\"abcdefghijklmnopqr"

/* The error is noticed at the first byte of "rest". */
static const struct
{
	const char *before;
	const char *rest;
	const char *error;
} bad_cases[] = {
	/* what is not a page */
	{"", "x", "unexpected character"},
	{"", "\xEF\xBB\xBF{}", "unexpected character"},
	{" ", "[]", "the page is not an object"},
	{"", "null", "the page is not an object"},
	{"", "\"a\"", "the page is not an object"},
	{"{} ", "{}", "unexpected character after the page"},
	{"{}", "}", "unexpected character after the page"},
	{"{\"rows\":[]}\n", ",", "unexpected character after the page"},
	/* what is not a page's rows */
	{"{\"rows\":", "{}}", "\"rows\" is not an array"},
	{"{\"rows\":", "\"\"}", "\"rows\" is not an array"},
	{"{\"rows\":", "1}", "\"rows\" is not an array"},
	{"{\"rows\":", "true}", "\"rows\" is not an array"},
	{"{\"rows\":[", "[]]}", "a row is not an object"},
	{"{\"rows\":[", "null]}", "a row is not an object"},
	{"{\"rows\":[{\"f\":", "{}}]}", "\"f\" is not an array"},
	{"{\"rows\":[{\"f\":", "null}]}", "\"f\" is not an array"},
	{"{\"rows\":[{\"f\":[", "\"v\"]}]}", "a cell is not an object"},
	{"{\"rows\":[{\"f\":[{\"v\":\"1\"},", "[]]}]}", "a cell is not an object"},
	{"{\"rows\":[{", "}]}", "a row without \"f\""},
	{"{\"rows\":[{\"f\":[]},{\"ff\":[]", "}]}", "a row without \"f\""},
	{"{\"rows\":[{\"f\":[{", "}]}]}", "a cell without \"v\""},
	{"{\"rows\":[{\"f\":[{\"v\":1},{\"w\":1", "}]}]}", "a cell without \"v\""},
	{"{\"rows\":[{\"f\":[{\"v\":\"1\"},{\"w\":{\"v\":1}", "}]}]}", "a cell without \"v\""},
	{"{\"rows\":[],\"rows", "\":[]}", "duplicate \"rows\""},
	{"{\"rows\":null,\"\\u0072ows", "\":[]}", "duplicate \"rows\""},
	{"{\"rows\":[{\"f\":[],\"f", "\":[]}]}", "duplicate \"f\" in a row"},
	{"{\"rows\":[{\"f\":[{\"v\":\"1\",\"v", "\":1}]}]}", "duplicate \"v\" in a cell"},
	/* grammar */
	{"{", ",}", "unexpected character"},
	{"{", "a:1}", "unexpected character"},
	{"{\"a\"", ",1}", "unexpected character"},
	{"{\"a\":", "}", "unexpected character"},
	{"{\"a\":1,", "}", "unexpected character"},
	{"{\"a\":1", "]", "unexpected character"},
	{"{\"a\":[1", "}", "unexpected character"},
	{"{\"a\":[1 ", "2]}", "unexpected character"},
	{"{\"a\":[1,", "]}", "unexpected character"},
	{"{\"a\":[", ",]}", "unexpected character"},
	{"{\"a\":1 ", "\"b\":2}", "unexpected character"},
	{"{\"a\":1,", ",\"b\":2}", "unexpected character"},
	{"{\"a\":", "'b'}", "unexpected character"},
	{"{\"a\":", "/**/1}", "unexpected character"},
	{"{\"rows\":[{\"f\":[{\"v\":\"1\"}", "{\"v\":\"2\"}]}]}", "unexpected character"},
	{"{\"rows\":[{\"f\":[{\"v\":\"1\"},", "]}]}", "unexpected character"},
	{"{\"rows\":[{\"f\":[{\"v\":\"1\"}", "}]}]}", "unexpected character"},
	{"{\"rows\":[{\"f\":[{\"v\":\"1\"", "]}]}]}", "unexpected character"},
	{"{\"rows\":[{\"f\":[{\"v\":null", "]}]}]}", "unexpected character"},
	{"{\"rows\":[{\"f\":[]}", "{\"f\":[]}]}", "unexpected character"},
	{"{\"rows\":[{\"f\":[]},", "]}", "unexpected character"},
	{"{\"rows\":[{\"f\":[{\"v\"", "}]}]}", "unexpected character"},
	/* literals and numbers */
	{"{\"a\":t", "Rue}", "unexpected character"},
	{"{\"a\":tru", "}", "unexpected character"},
	{"{\"a\":true", "e}", "unexpected character"},
	{"{\"a\":", "True}", "unexpected character"},
	{"{\"a\":n", "an}", "unexpected character"},
	{CELL "nul", "}]}]}", "unexpected character"},
	{CELL "null", "l}]}]}", "unexpected character"},
	{"{\"a\":", "NaN}", "unexpected character"},
	{"{\"a\":", "+1}", "unexpected character"},
	{"{\"a\":", ".5}", "unexpected character"},
	{"{\"a\":-", "}", "invalid number"},
	{"{\"a\":-", "Infinity}", "invalid number"},
	{"{\"a\":0", "1}", "invalid number"},
	{"{\"a\":-0", "0}", "invalid number"},
	{"{\"a\":0", "x10}", "unexpected character"},
	{"{\"a\":1.", "}", "invalid number"},
	{"{\"a\":1.", "e5}", "invalid number"},
	{"{\"a\":1.5", ".5}", "unexpected character"},
	{"{\"a\":1e", "}", "invalid number"},
	{"{\"a\":1e+", ",", "invalid number"},
	{"{\"a\":1e5", ".}", "unexpected character"},
	{CELL "1", "_}]}]}", "unexpected character"},
	/* strings */
	{TEXT, "\n\"}]}]}", "control character in a string"},
	{TEXT "\\n", "\x1F\"}]}]}", "control character in a string"},
	{"{\"a", "\t\":1}", "control character in a string"},
	{TEXT "\\", "x\"}]}]}", "invalid escape in a string"},
	{TEXT "\\", "U0041\"}]}]}", "invalid escape in a string"},
	{TEXT "\\u00", "g0\"}]}]}", "invalid escape in a string"},
	{TEXT "\\u004", "\"}]}]}", "invalid escape in a string"},
	{"{\"\\", "a\":1}", "invalid escape in a string"},
	/* surrogates: noticed where the pair cannot come about any more */
	{TEXT "\\ud83d", "\"}]}]}", "lone surrogate in a string"},
	{TEXT "\\ud83d", "x\"}]}]}", "lone surrogate in a string"},
	{TEXT "\\ud83d\\", "n\"}]}]}", "lone surrogate in a string"},
	{TEXT "\\ud83d\\u004", "1\"}]}]}", "lone surrogate in a string"},
	{TEXT "\\ud83d\\ud83", "d\"}]}]}", "lone surrogate in a string"},
	{TEXT "\\ud83d\\ude0", "g\"}]}]}", "invalid escape in a string"},
	{TEXT "\\ude0", "0\"}]}]}", "lone surrogate in a string"},
	{"{\"\\ud800", "\":1}", "lone surrogate in a string"},
	/* UTF-8 */
	{TEXT, "\x80\"}]}]}", "invalid UTF-8"},
	{TEXT, "\xBF\"}]}]}", "invalid UTF-8"},
	{TEXT, "\xC0\x80\"}]}]}", "invalid UTF-8"},
	{TEXT, "\xC1\xBF\"}]}]}", "invalid UTF-8"},
	{TEXT "\xC2", "\"}]}]}", "invalid UTF-8"},
	{TEXT "\xC2", "\xC2\"}]}]}", "invalid UTF-8"},
	{TEXT "\xE0", "\x9F\xBF\"}]}]}", "invalid UTF-8"},
	{TEXT "\xE4\xB8", "\"}]}]}", "invalid UTF-8"},
	{TEXT "\xE4\xB8", "x\"}]}]}", "invalid UTF-8"},
	{TEXT "\xED", "\xA0\x80\"}]}]}", "invalid UTF-8"},
	{TEXT "\xED", "\xBF\xBF\"}]}]}", "invalid UTF-8"},
	{TEXT "\xF0", "\x8F\xBF\xBF\"}]}]}", "invalid UTF-8"},
	{TEXT "\xF0\x9F\x98", "\"}]}]}", "invalid UTF-8"},
	{TEXT "\xF4", "\x90\x80\x80\"}]}]}", "invalid UTF-8"},
	{TEXT, "\xF5\x80\x80\x80\"}]}]}", "invalid UTF-8"},
	{TEXT, "\xFF\"}]}]}", "invalid UTF-8"},
	{TEXT "\xC3\xA9\xC3\xA9", "\xFE\"}]}]}", "invalid UTF-8"},
	{"{\"a\":\"", "\xA9\"}", "invalid UTF-8"},
	{"{\"\xE4", "\":1}", "invalid UTF-8"},
	/* rows before an error are given; their place on the page counts */
	{"{\"rows\":[{\"f\":[{\"v\":\"1\"}]},{\"f\":[{\"v\":\"", "\x01\"}]}]}", "control character in a string"},
	{"{\"rows\":[{\"x\":[\"", "\x02\"],\"f\":[]}]}", "control character in a string"},
};
