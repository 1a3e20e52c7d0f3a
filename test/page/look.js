// What test/page/t/010_browser.pl wants to know of a page; the value is that of the last expression.
(() => {
	for (const details of document.querySelectorAll('details'))
		details.open = true;

	const channels = (color) => color.match(/[\d.]+/g).map(Number);
	const luminance = (color) => channels(color).slice(0, 3)
		.map((v) => v / 255)
		.map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const contrast = (a, b) => {
		const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
		return (light + 0.05) / (dark + 0.05);
	};
	// the nearest ground that is not transparent
	const ground = (element) => {
		for (let e = element; e; e = e.parentElement) {
			const color = getComputedStyle(e).backgroundColor;
			if ((channels(color)[3] ?? 1) > 0)
				return color;
		}
		return 'rgb(255, 255, 255)';
	};
	const texts = [];
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) {
		const element = walker.currentNode.parentElement;
		if (!walker.currentNode.data.trim() || element.closest('title, style') || !element.getClientRects().length)
			continue;
		texts.push({ text: walker.currentNode.data.trim().slice(0, 40), contrast: contrast(getComputedStyle(element).color, ground(element)) });
	}
	const marks = [...document.querySelectorAll('.month use')];
	return {
		texts: texts.length,
		pale: texts.filter((t) => t.contrast < 4.5),
		ground: getComputedStyle(document.body).backgroundColor,
		wide: document.documentElement.scrollWidth - innerWidth,
		marks: marks.length,
		// marks that are as large as a finger or a mouse needs, and whose symbol is drawn
		drawn: marks.filter((m) => { const r = m.getBoundingClientRect(); return r.width >= 12 && r.height >= 12; }).length,
		scrolled: [...document.querySelectorAll('main *')].filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display === 'block' && e.clientWidth > 0).map((e) => e.outerHTML.slice(0, 80)),
		foreign: [...document.querySelectorAll('script, img, iframe, object, embed, form, input, base, audio, video, foreignObject, [onload], [onerror], [onclick]')].map((e) => e.tagName),
		hit: typeof window.hit,
		hovered: document.querySelector('use:hover > title')?.textContent ?? null,
		title: document.title,
		heading: document.querySelector('h1').textContent,
		said: [...document.querySelectorAll('.said bdi, .problems bdi')].map((e) => e.textContent),
		labels: [...document.querySelectorAll('svg')].filter((s) => !s.closest('[aria-hidden=true]')).map((s) => [s.getAttribute('role'), s.getAttribute('aria-label')]),
		lang: document.documentElement.lang,
		mode: document.compatMode,
	};
})()
